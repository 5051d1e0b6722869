"""Python itself."""

pass  # noqa: PIE790
