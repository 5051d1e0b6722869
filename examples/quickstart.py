"""Quickstart: a service that starts, the same service refused, and the check before a release.

Run it from anywhere with `python quickstart.py`. It needs only the installed package. It makes temporary keys and shows
none of them. Its exit status is 0 if every case ended as expected.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

SETTINGS = """
from typing import Annotated

from robodj_secretguard import Material, Secret, SecretPolicy, SecretSettings


class ServiceSecrets(SecretSettings):
    session_key: Annotated[Secret, SecretPolicy()]
    database_url: Annotated[Secret, SecretPolicy(material=Material.url("postgresql"))]
"""
SERVICE = """
from robodj_secretguard import guard
from service_secrets import ServiceSecrets

secrets = guard(ServiceSecrets)  # at import, before anything that uses a secret

print("The service is up.")
"""

GOOD = {
    "SESSION_KEY": secrets.token_urlsafe(32),
    "DATABASE_URL": f"postgresql://app:{secrets.token_hex(16)}@localhost/app",
}
BAD = {
    "SESSION_KEY": "change-me",  # the template's line, never replaced
    "DATABASE_URL": "postgresql://postgres:postgres@localhost/app",  # the default of a container
}

START = ["main.py"]
CHECK = ["-m", "robodj_secretguard", "check", "--model", "service_secrets:ServiceSecrets"]


def show(title: str, arguments: list[str], variables: dict[str, str], *, expected: int) -> bool:
    """Run Python in a new process, print its output, and return whether it ended as expected."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(("ROBODJ_", "SESSION_KEY", "DATABASE_URL"))
    }
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "service_secrets.py").write_text(SETTINGS, encoding="utf-8")
        Path(directory, "main.py").write_text(SERVICE, encoding="utf-8")
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
        show("The check passes", CHECK, GOOD, expected=0),
        show("The check fails", CHECK, BAD, expected=1),
    ]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
