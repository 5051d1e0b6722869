"""The gate before a release (policy section 7): `python config/check_runtime_secrets.py --require-env-only`."""

import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
# A secrets.py or logging.py in this folder must not replace the standard library's module.
own = {os.path.realpath(here), os.path.dirname(os.path.realpath(__file__))}
sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) not in own]
os.chdir(os.path.dirname(here))  # its pyproject.toml names the model

from robodj_secretguard.cli import main  # noqa: E402 - only after the folder is off the path

sys.exit(main(["check", *sys.argv[1:]]))
