"""Secret managers (policy section 2). Only commands with `--from` import these modules, and never `guard()`."""
