"""What a person annotated: images, cells and their states, regions, rounds; in memory and on disk."""
