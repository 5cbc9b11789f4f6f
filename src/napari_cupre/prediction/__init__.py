"""Finding cells."""
