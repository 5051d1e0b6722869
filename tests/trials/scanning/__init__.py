"""Planted keys, and a comparison of scanners that search for them: `python tests/trials/scanning`."""
