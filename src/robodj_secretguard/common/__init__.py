"""What more than one folder below uses, and no start loads."""
