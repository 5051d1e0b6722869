"""The secret lifecycle (policy sections 1 to 5): what operators do with keys, and the record of it."""
