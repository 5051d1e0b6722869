"""The keys of a ring for frameworks: one module for each. Each one needs its framework, and nothing imports it."""
