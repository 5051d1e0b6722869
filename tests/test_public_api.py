"""What users import."""

from __future__ import annotations

import subprocess
import sys

import robodj_secretguard


def test_the_exported_names() -> None:
    """The public API is this, sorted, and nothing else."""
    assert robodj_secretguard.__all__ == [
        "Check",
        "Finding",
        "Generator",
        "Length",
        "Material",
        "Report",
        "RevocationStatus",
        "RuntimeSecrets",
        "SecretPolicy",
        "SecretSettings",
        "SecretStatus",
        "Severity",
        "State",
        "check",
        "guard",
    ]
    assert all(hasattr(robodj_secretguard, name) for name in robodj_secretguard.__all__)


def test_the_import_is_lean_and_quiet() -> None:
    """Importing it brings neither structlog nor argparse, and writes nothing."""
    code = "import sys, robodj_secretguard; print(sorted({'structlog', 'argparse', 'difflib'} & set(sys.modules)))"
    bare = "import sys, pydantic_settings; print(sorted({'structlog', 'argparse', 'difflib'} & set(sys.modules)))"
    ours, floor = (
        subprocess.run([sys.executable, "-c", each], capture_output=True, text=True, check=True)
        for each in (code, bare)
    )
    assert (ours.stdout, ours.stderr) == (floor.stdout, "")


def test_a_service_imports_nothing_of_the_lifecycle() -> None:
    """The guard reads the revocation list, and no other code of the lifecycle is in a service's process."""
    names = "[name for name in sys.modules if 'lifecycle' in name or 'robodj_secretguard.commands' in name]"
    code = f"import sys, robodj_secretguard.guard; print({names})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
