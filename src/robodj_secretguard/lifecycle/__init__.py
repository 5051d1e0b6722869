"""The secret lifecycle: what operators do with keys, and the record of it (policy sections 1 to 5)."""
