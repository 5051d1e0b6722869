"""`python -m robodj_secretguard`."""

import sys

from robodj_secretguard.cli import main

sys.exit(main())
