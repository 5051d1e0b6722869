"""The table of the reference, which is generated from the code. `python tests/generated.py` writes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from robodj_secretguard.cli.explain import explanations

ROOT: Final = Path(__file__).parent.parent
REFERENCE: Final = ROOT / "docs" / "reference.md"
_HEADER: Final = "| check | severity | meaning | fix |\n|---|---|---|---|\n"
_NAMES: Final = re.compile(
    r"\bROBODJ_\w+(?:=true|=false)?|\bconfig/[\w.]+\w|\brobodj-secretguard (?:rotate )?[a-z]+(?: NAME)?|\bguard\(\)"
)
"""The code in the texts of the table."""


def table_of_checks() -> str:
    """Return the table of checks, with the first fix of each."""
    rows = []
    for check, texts in explanations().items():
        severity = "; ".join(filter(None, (texts["severity"], texts["otherwise"])))
        meaning, fix = (_NAMES.sub(r"`\g<0>`", text) for text in (texts["meaning"], texts["fixes"][0]))
        rows.append(f"| `{check}` | {severity} | {meaning} | {fix} |")
    return _HEADER + "".join(f"{row}\n" for row in rows)


def reference_with_table() -> str:
    """Return the reference with the table of the present checks."""
    text = REFERENCE.read_text(encoding="utf-8")
    before, _, rest = text.partition(_HEADER)
    after = rest.lstrip("|").partition("\n\n")[2]
    return f"{before}{table_of_checks()}\n{after}"


if __name__ == "__main__":
    REFERENCE.write_text(reference_with_table(), encoding="utf-8")
