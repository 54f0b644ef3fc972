"""Training: the loop and its steps, from a configuration to a trained network."""
