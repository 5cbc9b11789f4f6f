"""Arrays and what they mean."""
