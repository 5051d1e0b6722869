"""A scan as text for operators, and as SARIF 2.1.0, which code hosts show next to the code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from robodj_secretguard.scan.git import DOT_GIT
from robodj_secretguard.scan.result import OPERATIONS_LOG, REVOCATION_LIST, Rule, Scope, Where
from robodj_secretguard.secret.texts import COMMAND_INDENT, PROGRAM, command, count
from robodj_secretguard.startup.variables import iso_utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from robodj_secretguard.scan.result import Found, Scan
    from robodj_secretguard.secret.policy import SecretPolicy

# The last line of a scan that is complete and found nothing.
CLEAN: Final = "No key was found where it must not be (key material redacted)."

_WHAT: Final = {
    Rule.KNOWN_KEY: "contains the key",
    Rule.ASSIGNED_KEY: "sets the variable to a valid key",
    Rule.TRACKED_KEY_FILE: "git tracks this key file, which is more than a template",
}
_SCOPES: Final = {
    Scope.FILES: "files only; history: --git-history",
    Scope.STAGED: "staged changes",
    Scope.HISTORY: "files and git's history",
}
_EXPOSED: Final = "Everybody who could read these places may have the key (policy section 4)."
_STAGED: Final = "Nothing is committed yet. If the key was in any other place too, others may have it."
_UNSTAGE: Final = (
    "Remove it from the next commit (before the first commit: git rm --cached -- PATH):",
    "git restore --staged -- PATH",
)
_UNTRACK: Final = ("Stop tracking the key file, and add it to .gitignore:", "git rm --cached -- PATH")
_DELETE: Final = ("Delete the key from the places above. Copies of a git history keep it.",)
_SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_SARIF_RULES: Final = {
    Rule.KNOWN_KEY: "The key of a declared secret is in a place where it must not be.",
    Rule.ASSIGNED_KEY: "The variable of a declared secret is set to a valid key.",
    Rule.TRACKED_KEY_FILE: "Git tracks a file that holds a key.",
}


def size_in_words(size: int) -> str:
    """Return a number of bytes in words."""
    return f"{size / (1 << 20):,.1f} MiB"


def text(scan: Scan, policies: Iterable[SecretPolicy], options: Sequence[str]) -> str:
    """Return a scan as text: the findings, the fixes and the verdict. `options` are for the commands."""
    found = count(len(scan.findings), "finding")
    missed = count(sum(each.matters for each in scan.unread), "place was", "places were")
    verdict = f"Scan FAILED: {found}." if scan.complete else f"Scan INCOMPLETE: {found}; {missed} not scanned."
    return "\n".join([*lines(scan), *_fixes(scan, policies, options), CLEAN if scan.ok else verdict])


def lines(scan: Scan) -> list[str]:
    """Return the findings, what was not read, and the extent of the search, as lines of ASCII."""
    live = [key for key in scan.looked_for if not {OPERATIONS_LOG, REVOCATION_LIST}.issuperset(key.known_by)]
    others = len(scan.looked_for) - len(live)
    looked_for = [
        *dict.fromkeys(key.secret or "the keys from --keys-from" for key in live),
        *([f"{count(others, 'key')} by fingerprint"] if others else []),
        f"assignments of {', '.join(scan.variables)}",
    ]
    places = count(scan.files + scan.objects, "file or object", "files and objects")
    return [
        *map(_alert, scan.findings),
        *(f"{'INCOMPLETE' if each.matters else 'note'}: {each.place}: {each.why}" for each in scan.unread),
        f"Searched for: {', '.join(looked_for)}",
        f"Scanned: {places}, {size_in_words(scan.size)} ({_SCOPES[scan.scope]})",
    ]


def _alert(found: Found) -> str:
    details = [f"form: {found.form}"] if found.rule is not Rule.TRACKED_KEY_FILE else []
    details += [f"known by: {', '.join(found.known_by)}"] if found.known_by else []
    details += [found.fingerprint] if found.fingerprint else []
    more = f" ({'; '.join(details)})" if details else ""
    subject = f"{found.secret or 'a key'}{f' ({found.environment})' if found.environment else ''}"
    return f"ALERT: {subject}: {found.rule}: {_place(found)}: {_WHAT[found.rule]}{more}"


def _place(found: Found) -> str:
    at = f":{found.line}:{found.column}" if found.line else ""
    places = {
        Where.FILE: f"{found.path}{at}",
        Where.NAME: f"{found.path}, in its name",
        Where.LINK: f"{found.path}, in the target of the link",
        Where.INDEX: f"{found.path}{at} in the index",
    }
    if found.where in places:
        return places[found.where]
    if not found.carriers:
        why = {"tree": ", in a name in it", "blob": ", in no reachable commit"}
        return f"{found.object_type} {found.object}{at}{why.get(found.object_type or '', '')}"
    carrying = dict.fromkeys(each.commit for each in found.carriers)
    commits = [each for each in carrying if each]
    parts = [
        *(f"commit {each}" for each in commits[:1]),
        *([count(len(commits) - 1, "more commit")] if len(commits) > 1 else []),
        *(["the index"] if None in carrying else []),
    ]
    return f"{found.carriers[0].path}{at} in {' and '.join(parts)}"


def _fixes(scan: Scan, policies: Iterable[SecretPolicy], options: Sequence[str]) -> list[str]:
    if not scan.findings:
        return []
    keys = dict.fromkeys(each.fingerprint for each in scan.findings if each.fingerprint)
    listed = {each.fingerprint for each in scan.looked_for if REVOCATION_LIST in each.known_by}
    names = {each.secret for each in scan.findings}
    revoke = [
        command("revoke", "--fingerprint", key, "--reason", "found by a scan", *options)
        for key in keys
        if key not in listed
    ]
    plans = [
        command("rotate", "plan", each.name, *(() if scan.scope is Scope.STAGED else ("--emergency",)), *options)
        for each in policies
        if each.name in names
    ]
    steps = [
        *([_UNSTAGE] if scan.scope is Scope.STAGED else []),
        *([("Revoke each key (add --yes; without it, these only print the key):", *revoke)] if revoke else []),
        *((f"{key} is already revoked. Make sure that nothing uses it.",) for key in keys if key in listed),
        *([("Replace the key. This prints the steps:", *plans)] if plans else []),
        *([_UNTRACK] if any(each.rule is Rule.TRACKED_KEY_FILE for each in scan.findings) else []),
        *([] if scan.scope is Scope.STAGED else [_DELETE]),
    ]
    lines = ["", _STAGED if scan.scope is Scope.STAGED else _EXPOSED, "What to do:"]
    for number, (step, *commands) in enumerate(steps, start=1):
        lines += [f"{number}. {step}", *(f"{COMMAND_INDENT}{each}" for each in commands)]
    return [*lines, ""]


def sarif(scan: Scan) -> dict[str, Any]:
    """Return a scan as a SARIF document."""
    notifications = [
        {"level": "error" if each.matters else "note", "message": {"text": f"not scanned: {each.place}: {each.why}"}}
        for each in scan.unread
    ]
    rules = [{"id": str(rule), "shortDescription": {"text": text}} for rule, text in _SARIF_RULES.items()]
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
        "results": [*map(_result, scan.findings, scan.as_dict()["findings"])],
    }
    return {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(found: Found, fields: dict[str, Any]) -> dict[str, Any]:
    # Code hosts refuse a result without a path.
    paths = dict.fromkeys([each.path for each in found.carriers] if found.path is None else [found.path]) or [DOT_GIT]
    region = {"region": {"startLine": found.line, "startColumn": found.column}} if found.line else {}
    return {
        "ruleId": str(found.rule),
        "level": "error",
        "message": {"text": _alert(found)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(path)}, **region}} for path in paths],
        "properties": {name: value for name, value in fields.items() if value},
        **({"partialFingerprints": {"key/v1": found.fingerprint}} if found.fingerprint else {}),
    }


def _uri(path: str) -> str:
    return quote(os.fsencode(path.encode("ascii").decode("unicode_escape")))
