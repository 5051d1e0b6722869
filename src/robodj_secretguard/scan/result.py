"""The result of a scan: data, and text for operators. No field can hold a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from robodj_secretguard.common.shapes import SHAPE, EnvironmentName, Fingerprint, FreeText, Instant, SecretName, must
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.texts import (
    COMMAND_INDENT,
    RED,
    YELLOW,
    Options,
    command,
    count,
    is_free_text,
    mark,
    paint,
)

REDACTED: Final = "[redacted]"  # shown instead of a name that holds a key
LOG_SOURCE: Final = "operations log"
LIST_SOURCE: Final = "revocation list"
DATED_SOURCE: Final = "revocation list, from a later time"
"""The list has the key, which is not revoked yet."""
_BY_FINGERPRINT: Final = frozenset((LOG_SOURCE, LIST_SOURCE, DATED_SOURCE))
"""The sources that have no key."""
"""These two sources have fingerprints. Every other one has the key itself."""


Rule = Literal["known-key", "assigned-key", "tracked-key-file"]
"""The rule that found a key."""
Scope = Literal["files", "staged", "git-history"]
"""What a scan reads: files; what the next commit adds or changes; or files, and every object that git keeps."""
Where = Literal["file", "name", "link", "index", "history"]
"""What kind of place holds a key. `name` is that of a file or directory, and `link` is the target of one."""


_Path = Annotated[str, Field(pattern="^[ -~]*$")]  # escaped, as a scan shows it
_SafeSecretName = Annotated[SecretName, must(is_free_text)]
_Count = Annotated[int, Field(ge=0)]
_Number = Annotated[int, Field(ge=1)]
_ObjectName = Annotated[str, Field(pattern="^(?:[0-9a-f]{40}|[0-9a-f]{64})$")]
# The last line of a scan that is complete and found nothing.
CLEAN: Final = "No key was found where it must not be (key material redacted)."

_WHAT: Final = {
    "known-key": "contains the key",
    "assigned-key": "sets the variable to a valid key",
    "tracked-key-file": "git tracks this key file, which is more than a template",
}
_SCOPES: Final = {
    "files": "files only; history: --git-history",
    "staged": "staged changes",
    "git-history": "files and git's history",
}


@dataclass(frozen=True, config=SHAPE)
class KnownKey:
    """A key that is searched for. Its secret and environment are null where they are unknown."""

    fingerprint: Fingerprint | None
    """Null for the value of an issued secret."""
    secret: _SafeSecretName | None = None
    environment: EnvironmentName | None = None
    known_by: tuple[FreeText, ...] = ()
    """The sources of the key or of its fingerprint."""


@dataclass(frozen=True, config=SHAPE)
class Carrier:
    """A commit or the index, with the path of an object in it."""

    commit: _ObjectName | None
    """Null for the index."""
    path: _Path


@dataclass(frozen=True, config=SHAPE, kw_only=True)
class Found:
    """A key where it must not be."""

    rule: Rule
    where: Where
    secret: _SafeSecretName | None
    environment: EnvironmentName | None = None
    fingerprint: Fingerprint | None
    """Null for a key file that is not exactly one valid key, and for an issued secret."""
    known_by: tuple[FreeText, ...] = ()
    form: FreeText = "raw"
    """`raw`, or its encoding."""
    path: _Path | None = None
    """Escaped, and without names that hold a key. Null for an object of the history."""
    line: _Number | None = None
    column: _Number | None = None
    """In characters."""
    offset: _Count | None = None
    """Of the key, or of the text that encodes it, in bytes."""
    object: _ObjectName | None = None
    """The name of the git object."""
    object_type: Literal["blob", "commit", "tag", "tree"] | None = None
    carriers: tuple[Carrier, ...] = ()


@dataclass(frozen=True, config=SHAPE)
class Unread:
    """What was not read."""

    place: _Path
    why: FreeText
    matters: bool = True
    """Whether a key may have been missed."""


@dataclass(frozen=True, config=SHAPE, kw_only=True)
class Scan:
    """The outcome of a scan."""

    schema: Literal[1] = 1
    kind: Literal["scan"] = "scan"
    ok: bool
    """Whether the scan is complete and found nothing."""
    complete: bool
    """Whether everything that matters was read."""
    scanned_at: Instant
    """When the scan began."""
    scope: Scope
    looked_for: tuple[KnownKey, ...]
    variables: tuple[FreeText, ...]
    """The variables whose assignments were searched for."""
    files: _Count
    objects: _Count
    size: _Count
    """The size of all files and objects, in bytes."""
    findings: tuple[Found, ...]
    unread: tuple[Unread, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it in the plain types of JSON."""
        return dict(_SCAN.dump_python(self, mode="json"))


_SCAN: Final = TypeAdapter(Scan)


def scan_as_text(scan: Scan, policies: Iterable[SecretPolicy], options: Options) -> str:
    """Return a scan as text: the findings, what was not read, the extent of the search, the fixes and the verdict.

    `options` are for the commands.
    """
    found = count(len(scan.findings), "finding")
    fix = "Fix each line above that begins with INCOMPLETE, then scan again."
    incomplete = f"Scan {paint('INCOMPLETE', YELLOW)}: {found}. {fix}"
    verdict = mark(f"Scan FAILED: {found}.", RED) if scan.complete else incomplete
    live = [key for key in scan.looked_for if not _BY_FINGERPRINT.issuperset(key.known_by)]
    others = len(scan.looked_for) - len(live)
    looked_for = [
        *dict.fromkeys(key.secret or "the keys from --keys-from" for key in live),
        *([f"{count(others, 'key')} by fingerprint"] if others else []),
        f"assignments of {', '.join(scan.variables)}",
    ]
    places = count(scan.files + scan.objects, "file or object", "files and objects")
    lines = [
        *(mark(_alert(each), RED) for each in scan.findings),
        *(
            mark(f"INCOMPLETE: {item.place}: {item.why}", YELLOW) if item.matters else f"note: {item.place}: {item.why}"
            for item in scan.unread
        ),
        f"Searched for: {', '.join(looked_for)}",
        f"Scanned: {places}, {scan.size / (1 << 20):,.1f} MiB ({_SCOPES[scan.scope]})",
        *_fixes(scan, policies, options),
        CLEAN if scan.ok else verdict,
    ]
    return "\n".join(lines)


def _alert(found: Found) -> str:
    details = [
        *([f"form: {found.form}"] if found.rule != "tracked-key-file" else []),
        *([f"known by: {', '.join(found.known_by)}"] if found.known_by else []),
        *([found.fingerprint] if found.fingerprint else []),
    ]
    more = f" ({'; '.join(details)})" if details else ""
    subject = f"{found.secret or 'a key'}{f' ({found.environment})' if found.environment else ''}"
    return f"ALERT: {subject}: {found.rule}: {_place(found)}: {_WHAT[found.rule]}{more}"


def _place(found: Found) -> str:
    at = f":{found.line}:{found.column}" if found.line else ""
    places = {
        "file": f"{found.path}{at}",
        "name": f"{found.path}, in its name",
        "link": f"{found.path}, in the target of the link",
        "index": f"{found.path}{at} in the index",
    }
    if found.where in places:
        return places[found.where]
    if not found.carriers:
        why = {"tree": ", in a name in it", "blob": ", in no reachable commit"}
        return f"{found.object_type} {found.object}{at}{why.get(found.object_type or '', '')}"
    carrying = dict.fromkeys(carrier.commit for carrier in found.carriers)
    commits = [commit for commit in carrying if commit]
    parts = [
        *(f"commit {commit}" for commit in commits[:1]),
        *([count(len(commits) - 1, "more commit")] if len(commits) > 1 else []),
        *(["the index"] if None in carrying else []),
    ]
    return f"{found.carriers[0].path}{at} in {' and '.join(parts)}"


def _fixes(scan: Scan, policies: Iterable[SecretPolicy], options: Options) -> list[str]:
    if not scan.findings:
        return []
    where = (
        "Nothing is committed yet. If the key was in any other place too, others may have it."
        if scan.scope == "staged"
        else "Everybody who could read these places may have the key."
    )
    lines = ["", where, "What to do:"]
    for number, (step, *commands) in enumerate(_steps(scan, policies, options), start=1):
        lines += [f"{number}. {step}", *(f"{COMMAND_INDENT}{words}" for words in commands)]
    return [*lines, ""]


def _steps(scan: Scan, policies: Iterable[SecretPolicy], options: Options) -> Iterator[tuple[str, ...]]:
    """Yield what to do about the findings, each step with its commands."""
    is_staged = scan.scope == "staged"
    if is_staged:
        yield (
            "Remove it from the next commit (before the first commit: git rm --cached -- PATH):",
            "git restore --staged -- PATH",
        )
    # A revoked key that nothing delivers was replaced already.
    replaced = {
        key.fingerprint for key in scan.looked_for if {LIST_SOURCE} <= {*key.known_by} <= {LOG_SOURCE, LIST_SOURCE}
    }
    names = {finding.secret for finding in scan.findings if finding.fingerprint not in replaced}
    found = [policy for policy in policies if policy.name in names]
    old = [policy for policy in found if _is_old_key(scan, policy)]
    yield from (
        (f"Unset {each.slot_variables[1]} and its deadline: that ends what this old key has signed.",) for each in old
    )
    yield from (
        (f"For {each.name}, {each.replacement}, and disable the old one there.",) for each in found if each.is_issued
    )
    urgency = () if is_staged else ("--emergency",)
    plans = [command("rotate", "plan", policy.name, *urgency, *options) for policy in found if policy not in old]
    if plans:
        yield ("Replace the key. This prints the steps:", *plans)
    yield from _revoke_steps(scan, options)
    if any(finding.rule == "tracked-key-file" for finding in scan.findings):
        yield ("Stop tracking the key file, and add it to .gitignore:", "git rm --cached -- PATH")
    if not is_staged:
        yield ("Delete the key from the places above. Copies of a git history keep it.",)


def _revoke_steps(scan: Scan, options: Options) -> Iterator[tuple[str, ...]]:
    listed = {key.fingerprint for key in scan.looked_for if LIST_SOURCE in key.known_by}
    keys = dict.fromkeys(filter(None, (finding.fingerprint for finding in scan.findings)))
    revoke = [
        command("revoke", "--fingerprint", key, "--reason", "found by a scan", *options)
        for key in keys
        if key not in listed
    ]
    if revoke:
        yield ("Revoke each key that is not revoked by then (without --yes, these only print the key):", *revoke)
    yield from ((f"{key} is already revoked. Make sure that nothing uses it.",) for key in keys if key in listed)


def _is_old_key(scan: Scan, policy: SecretPolicy) -> bool:
    """Check whether only a previous key of before the adoption was found: a rotation would replace the current one."""
    found = [(finding.rule, finding.fingerprint) for finding in scan.findings if finding.secret == policy.name]
    return {*found} == {("known-key", None)} and not policy.is_issued
