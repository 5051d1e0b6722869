"""The guard. Read its modules in this order: readings, rules, report, settings, guard, emit."""
