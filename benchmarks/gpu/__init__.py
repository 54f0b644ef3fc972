"""Tests, speed and short training runs on one GPU: `python -m benchmarks.gpu`."""
