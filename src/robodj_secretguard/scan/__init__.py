"""Find known keys in places where they must not be, and show none of them (policy sections 2 and 5)."""
