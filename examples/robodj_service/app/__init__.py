"""A RoboDJ-shaped service."""
