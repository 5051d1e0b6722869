"""The commands: each adds its parser, and returns what it has to say."""
