"""Keys that are planted where they must not be, and what finds them: `python tests/scanning` compares."""
