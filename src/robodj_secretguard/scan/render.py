"""A scan as text for operators, and as SARIF 2.1.0, which code hosts show next to the code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from robodj_secretguard.scan.git import DOT_GIT
from robodj_secretguard.scan.result import OPERATIONS_LOG, REVOCATION_LIST, Rule, Scope, Where
from robodj_secretguard.sources import iso_utc
from robodj_secretguard.texts import PROGRAM, command, count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.scan.result import Found, Scan

CLEAN: Final = "No key was found where it must not be (key material redacted)."
"""The last line of a scan that found nothing and missed nothing."""

_WHAT: Final = {
    Rule.KNOWN_KEY: "the key, {}",
    Rule.ASSIGNED_KEY: "the variable is given what would pass as the key, {}",
    Rule.TRACKED_KEY_FILE: "git tracks this key file, and it holds more than a template",
}
_SCOPES: Final = {
    Scope.FILES: "files (not git's history: --git-history)",
    Scope.STAGED: "what the next commit adds or changes",
    Scope.HISTORY: "files and git's history",
}
_EXPOSED: Final = "whoever could look there has the key, and taking it away does not take it back (policy 4, 5)"
_UNSTAGE: Final = (
    "What to do: it is not committed yet. Take it out:",
    "- git restore --staged -- PATH, or before the first commit: git rm --cached -- PATH",
    f"If it was anywhere else, {_EXPOSED}:",
)
_UNTRACK: Final = ("- git rm --cached -- PATH, and put it into .gitignore: version control takes templates alone",)
_SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_SARIF_RULES: Final = {
    Rule.KNOWN_KEY: "A declared secret's key stands where it must not be.",
    Rule.ASSIGNED_KEY: "A declared secret's variable is given a value that would pass as its key.",
    Rule.TRACKED_KEY_FILE: "Git tracks a file that holds a key.",
}


def size_in_words(size: int) -> str:
    """Return a number of bytes in words."""
    return f"{size / (1 << 20):,.1f} MiB"


def text(scan: Scan, policies: Iterable[SecretPolicy], options: Sequence[str]) -> str:
    """Return a scan as text: the findings, the fixes, whose commands have these options, and the verdict."""
    found = count(len(scan.findings), "finding")
    missed = count(sum(each.matters for each in scan.unread), "thing was", "things were")
    verdict = f"Scan FAILED: {found}." if scan.complete else f"Scan INCOMPLETE: {found}, and {missed} not looked at."
    return "\n".join([*lines(scan), *_fixes(scan, policies, options), CLEAN if scan.ok else verdict])


def lines(scan: Scan) -> list[str]:
    """Return what was found and what was not read, what was searched for and where: ASCII, each one line."""
    live = [key for key in scan.looked_for if not {OPERATIONS_LOG, REVOCATION_LIST}.issuperset(key.known_by)]
    others = len(scan.looked_for) - len(live)
    looked_for = [
        *dict.fromkeys(key.secret or "keys that were passed" for key in live),
        *([f"{count(others, 'key')} by fingerprint"] if others else []),
        f"assignments of {', '.join(scan.variables)}",
    ]
    places = count(scan.files + scan.objects, "file or object", "files and objects")
    return [
        *map(_alert, scan.findings),
        *(f"{'INCOMPLETE' if each.matters else 'note'}: {each.place}: {each.why}" for each in scan.unread),
        f"looked for: {', '.join(looked_for)}",
        f"looked at: {_SCOPES[scan.scope]}: {places}, {size_in_words(scan.size)}",
    ]


def _alert(found: Found) -> str:
    known = f"known by: {', '.join(found.known_by)}; " if found.known_by else ""
    key = f" ({known}{found.fingerprint})" if found.fingerprint else ""
    subject = f"{found.secret or 'a key'}{f' ({found.environment})' if found.environment else ''}"
    return f"ALERT: {subject}: {found.rule}: {_place(found)}: {_WHAT[found.rule].format(found.form)}{key}"


def _place(found: Found) -> str:
    at = f":{found.line}:{found.column}" if found.line else ""
    places = {
        Where.FILE: f"{found.path}{at}",
        Where.NAME: f"{found.path}, in the name itself",
        Where.LINK: f"{found.path}, in what the link leads to",
        Where.INDEX: f"{found.path}{at} in the index",
    }
    if found.where in places:
        return places[found.where]
    if not found.carriers:
        why = {"tree": ", in a name in it", "blob": ", which no commit that can be reached carries"}
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
    is_staged = scan.scope is Scope.STAGED
    revoked = {each.fingerprint for each in scan.looked_for if REVOCATION_LIST in each.known_by}
    keys = dict.fromkeys(each.fingerprint for each in scan.findings if each.fingerprint)
    names = {each.secret for each in scan.findings}
    return [
        *(_UNSTAGE if is_staged else (f"What to do: {_EXPOSED}:",)),
        "- revoke it: each of these shows what it would do, and with --yes no service starts on the key",
        *(
            f"- {key} is revoked already: see that nothing uses it"
            if key in revoked
            else "- " + command("revoke", "--fingerprint", key, "--reason", "found by a scan", *options)
            for key in keys
        ),
        *("- " + command("rotate", "plan", each.name, *options) for each in policies if each.name in names),
        *(_UNTRACK if any(each.rule is Rule.TRACKED_KEY_FILE for each in scan.findings) else ()),
        *(() if is_staged else ("- take it out of where it is; a history that was fetched keeps what was in it",)),
    ]


def sarif(scan: Scan) -> dict[str, Any]:
    """Return a scan in the plain types of SARIF's JSON."""
    notifications = [
        {"level": "error" if each.matters else "note", "message": {"text": f"not looked at: {each.place}: {each.why}"}}
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
    # One path at least: code hosts refuse a result without any.
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
