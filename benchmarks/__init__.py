"""Measurements, run by hand from the repository's root."""
