"""What the documentation takes from the table of checks. `python tests/generated.py` writes it anew."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from robodj_secretguard.checks import CHECKS, Severity, State
from robodj_secretguard.report import JSON_SCHEMA

ROOT: Final = Path(__file__).parent.parent
README: Final = ROOT / "README.md"
SCHEMA: Final = ROOT / "docs" / "schemas" / "report.json"
_HEADER: Final = "| check | severity | meaning | fix |\n|---|---|---|---|\n"
_NAMES: Final = re.compile(
    r"\bROBODJ_\w+(?:=true|=false)?|\bconfig/[\w.]+\w|\brobodj-secretguard (?:rotate )?[a-z]+|\bguard\(\)"
)
"""What is code in the texts of the table."""

_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_FLAG: Final = {"type": "boolean"}
_INSTANT: Final = {"type": "string", "format": "date-time"}


def table_of_checks() -> str:
    """Return the README's table of checks, with the first fix of each."""
    rows = []
    for each in CHECKS:
        severity = "; ".join(filter(None, (each.severity, each.otherwise)))
        texts = (_NAMES.sub(r"`\g<0>`", text) for text in (each.meaning, each.fixes[0]))
        rows.append(f"| `{each.check}` | {severity} | {' | '.join(texts)} |")
    return _HEADER + "".join(f"{row}\n" for row in rows)


def schema_of_report() -> str:
    """Return the JSON Schema of what `Report.as_dict()` returns."""
    secret = {
        **dict.fromkeys(("secret", "variable", "source", "owner", "backup_owner"), _TEXT),
        "state": {"enum": [str(state) for state in State]},
        "usable": _FLAG,
        "expires_at": {**_INSTANT, "type": ["string", "null"]},
        "rotation_days": {"type": "integer"},
        "fingerprint": _TEXT_OR_NULL,
    }
    finding = {
        "check": {"oneOf": [{"const": str(each.check), "title": each.title} for each in CHECKS]},
        "severity": {"enum": [str(severity) for severity in Severity]},
        "secret": _TEXT_OR_NULL,
        **dict.fromkeys(("source", "message", "remedy", "owner"), _TEXT),
    }
    revocation_list = _object({"sources": {"type": "array", "items": _TEXT}, "entries": {"type": "integer"}})
    report = {
        "schema": {"const": JSON_SCHEMA},
        "ok": _FLAG,
        "checked_at": _INSTANT,
        "require_env_only": _FLAG,
        "revocation_list": {"anyOf": [revocation_list, {"type": "null"}]},
        "secrets": {"type": "array", "items": _object(secret)},
        "findings": {"type": "array", "items": _object(finding)},
    }
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "report", **_object(report)}
    return json.dumps(document, indent=2) + "\n"


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties]}


def readme_with_table() -> str:
    """Return the README with the table of the present checks."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(_HEADER)
    after = rest.lstrip("|").partition("\n\n")[2]
    return f"{before}{table_of_checks()}\n{after}"


if __name__ == "__main__":
    README.write_text(readme_with_table(), encoding="utf-8")
    SCHEMA.write_text(schema_of_report(), encoding="utf-8")
