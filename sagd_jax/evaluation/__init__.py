"""Programs that judge a trained network."""
