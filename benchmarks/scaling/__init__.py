"""A plan on paper for scaling the training step: `python -m benchmarks.scaling`."""
