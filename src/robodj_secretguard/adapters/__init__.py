"""The keys of a ring for frameworks: one module for each, which needs its framework. No other package imports them."""
