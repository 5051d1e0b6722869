"""A scan as text for operators: what was found, what is to be done, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robodj_secretguard.scan.result import Rule, Scope
from robodj_secretguard.texts import command, count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.scan.result import Scan

CLEAN: Final = "No key was found where it must not be (key material redacted)."
"""The last line of a scan that found nothing and missed nothing."""


def text(scan: Scan, policies: Iterable[SecretPolicy], options: Sequence[str]) -> str:
    """Return a scan as lines of text.

    Args:
        scan: the scan.
        policies: the declared secrets.
        options: those that the commands which it shows are run with.
    """
    return "\n".join([*scan.lines, *_remedies(scan, policies, options), _verdict(scan)])


def _verdict(scan: Scan) -> str:
    if scan.ok:
        return CLEAN
    found = count(len(scan.findings), "finding")
    missed = count(sum(each.matters for each in scan.unread), "thing was", "things were")
    return f"Scan FAILED: {found}." if scan.complete else f"Scan INCOMPLETE: {found}, and {missed} not looked at."


def _remedies(scan: Scan, policies: Iterable[SecretPolicy], options: Sequence[str]) -> list[str]:
    """Return what is to be done about the findings."""
    if not scan.findings:
        return []
    exposed = "whoever could look there has the key, and taking it away does not take it back (policy 4, 5)"
    lines = [f"What to do: {exposed}:"]
    if scan.scope is Scope.STAGED:
        lines = ["What to do: it is not committed yet. Take it out:"]
        lines += ["- git restore --staged -- PATH, or before the first commit: git rm --cached -- PATH"]
        lines += [f"If it was anywhere else, {exposed}:"]
    lines += ["- revoke it: each of these shows what it would do, and with --yes no service starts on the key"]
    revoked = {each.fingerprint for each in scan.looked_for if each.is_revoked}
    for key in dict.fromkeys(each.fingerprint for each in scan.findings if each.fingerprint):
        revoke = command("revoke", "--fingerprint", key, "--reason", "found by a scan", *options)
        lines.append(f"- {key} is revoked already: see that nothing uses it" if key in revoked else f"- {revoke}")
    names = {each.secret for each in scan.findings}
    lines += ["- " + command("rotate", "plan", each.name, *options) for each in policies if each.name in names]
    if any(each.rule is Rule.TRACKED_KEY_FILE for each in scan.findings):
        lines.append("- git rm --cached -- PATH, and put it into .gitignore: version control takes templates alone")
    if scan.scope is not Scope.STAGED:
        lines.append("- take it out of where it is; a history that was fetched keeps what was in it")
    return lines
