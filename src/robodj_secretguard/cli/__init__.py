"""The command line: `main` runs a command, and each command has a module that adds its parser."""

from robodj_secretguard.cli.app import main
from robodj_secretguard.cli.output import EXIT_ALERTS, EXIT_CLEAN, EXIT_USAGE
from robodj_secretguard.secret.texts import PROGRAM

__all__ = ["EXIT_ALERTS", "EXIT_CLEAN", "EXIT_USAGE", "PROGRAM", "main"]
