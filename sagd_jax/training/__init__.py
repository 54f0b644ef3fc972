"""Training: the loop, its checkpoints and what keeps them safe."""
