"""For people's eyes and ears: pictures, plots, sounds, clips and words. Knows no run."""
