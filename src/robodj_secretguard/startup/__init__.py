"""The guard: readings, rules, report, settings, guard."""
