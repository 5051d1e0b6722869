"""A scan as SARIF 2.1.0, which code hosts show beside the code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from robodj_secretguard.scan.git import DOT_GIT
from robodj_secretguard.scan.result import Rule
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import PROGRAM

if TYPE_CHECKING:
    from robodj_secretguard.scan.result import Found, Scan

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_DESCRIPTIONS: Final = {
    Rule.KNOWN_KEY: "A declared secret's key stands where it must not be.",
    Rule.ASSIGNED_KEY: "A declared secret's variable is given a value that would pass as its key.",
    Rule.TRACKED_KEY_FILE: "Git tracks a file that holds a key.",
}


def sarif(scan: Scan) -> dict[str, Any]:
    """Return a scan in the plain types of SARIF's JSON.

    Args:
        scan: the scan.
    """
    notifications = [
        {"level": "error" if each.matters else "note", "message": {"text": f"not looked at: {each.place}: {each.why}"}}
        for each in scan.unread
    ]
    rules = [{"id": str(rule), "shortDescription": {"text": text}} for rule, text in _DESCRIPTIONS.items()]
    run = {
        "tool": {"driver": {"name": PROGRAM, "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": scan.complete,
                "startTimeUtc": iso_utc(scan.scanned_at),
                "toolExecutionNotifications": notifications,
            }
        ],
        "results": [_result(found) for found in scan.findings],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(found: Found) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": str(found.rule),
        "level": "error",
        "message": {"text": found.line_shown},
        "locations": [_location(path, found) for path in _paths(found)],
        "properties": {name: value for name, value in found.as_dict().items() if value},
    }
    if found.fingerprint:
        result["partialFingerprints"] = {"key/v1": found.fingerprint}
    return result


def _paths(found: Found) -> list[str]:
    """Return the paths of a finding, one at least: code hosts refuse a result without any."""
    if found.path is not None:
        return [found.path]
    return [*dict.fromkeys(each.path for each in found.carriers)] or [DOT_GIT]


def _location(path: str, found: Found) -> dict[str, Any]:
    name = path.encode("ascii").decode("unicode_escape")
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(os.fsencode(name))}}
    if found.line:
        place["region"] = {"startLine": found.line, "startColumn": found.column}
    return {"physicalLocation": place}
