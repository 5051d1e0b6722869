"""What happens after the start: one store of keys for each model and source, and the views of it."""
