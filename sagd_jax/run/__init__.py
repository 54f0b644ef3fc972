"""A run: its configuration, what is built from it, how it is kept on disk and opened again."""
