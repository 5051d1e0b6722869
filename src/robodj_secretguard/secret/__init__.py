"""What a key is."""
