"""What judges a trained network."""
