"""Speed and memory beside PyTorch with diffusers: see `__main__.py`."""
