"""Learning from a few annotated cells."""
