"""What every program stands on: errors, exits, flags, processes, signals. Knows no diffusion."""
