"""Quickstart: a service that starts, the same service refused, and the gate before a release.

Run it from anywhere with `python quickstart.py`. It needs only the installed package. It makes temporary keys and shows
none of them. Its exit status is 0 if every case ended as expected.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile

SERVICE = """
from robodj_secretguard import guard

secrets = guard()  # at import, before anything that uses a key

print("The service is up.")
"""

GOOD = {
    "ROBODJ_SECRET_KEY": secrets.token_urlsafe(32),
    "ROBODJ_SECRET_V2_KEY": secrets.token_hex(64),
}
BAD = {
    **GOOD,
    "ROBODJ_SECRET_KEY": "REPLACE_WITH_A_KEY",  # the template's line, never replaced
    "ROBODJ_SECRET_V2_KEY_EXPIRES_AT": "2020-01-31T00:00:00Z",  # a rotation that was forgotten
}

START = ["-c", SERVICE]
GATE = ["-m", "robodj_secretguard", "check", "--require-env-only"]


def show(title: str, arguments: list[str], variables: dict[str, str], *, expected: int) -> bool:
    """Run Python in a new process, print its output, and return whether it ended as expected."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("ROBODJ_")}
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(  # noqa: S603 - this Python, with arguments from above
            [sys.executable, *arguments],
            env={**inherited, **variables},
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
    as_expected = done.returncode == expected
    verdict = f"exit status: {done.returncode}{'' if as_expected else f' (it should have been {expected})'}"
    print(f"--- {title}", done.stdout.rstrip(), verdict, sep="\n", end="\n\n")
    return as_expected


def main() -> int:
    """Show the four cases, and return 0 when each ended as expected."""
    outcomes = [
        show("The service starts with good keys", START, GOOD, expected=0),
        show("The same service is refused with bad ones", START, BAD, expected=3),
        show("The gate passes", GATE, GOOD, expected=0),
        show("The gate fails", GATE, BAD, expected=1),
    ]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
