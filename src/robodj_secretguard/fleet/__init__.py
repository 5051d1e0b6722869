"""Which instances run on which keys."""
