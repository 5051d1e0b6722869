"""A scan as text: the findings, the content that was not read, and the instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from conftest import NOW, V1, V2

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.scan.result import (
    CLEAN,
    DATED_SOURCE,
    Carrier,
    Found,
    KnownKey,
    Scan,
    Scope,
    Unread,
    Where,
    scan_as_text,
)
from robodj_secretguard.secret.texts import unpaint

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
ONE, TWO = (f"sgfp1:{digit * 32}" for digit in "12")
COMMITS = [digit * 40 for digit in "abc"]
MORE = "2 more commits and the index"
KNOWN = (KnownKey(ONE, "secret.key", "prod", ("environment", "operations log")), KnownKey(TWO, known_by=("keys-from",)))
SEARCHED = f"Searched for: secret.key, the keys from --keys-from, assignments of {V1}, {V2}"
EXPOSED = "Everybody who could read these places may have the key."
STAGED = "Nothing is committed yet. If the key was in any other place too, others may have it."
TO_DO = "What to do:"
REVOKE = "2. Revoke each key that is not revoked by then (without --yes, these only print the key):"
PLAN = "1. Replace the key. This prints the steps:"
UNTRACK = ["1. Stop tracking the key file, and add it to .gitignore:", "     git rm --cached -- PATH"]
DELETE = "Delete the key from the places above. Copies of a git history keep it."
MISSING = Unread("PATH 1", "it does not exist")
NOTE = Unread("config/secret.key", "a fallback file", matters=False)


def finding(where: Where = "file", **fields: Any) -> Found:
    """Return a finding of a known key by default."""
    place = {"path": "a.txt"} if where != "history" else {"object_type": "blob", "object": "d" * 40}
    at = {"line": 2, "column": 7, "offset": 9}
    known = {"rule": "known-key", "secret": "secret.key", "fingerprint": ONE, "known_by": ("environment",)}
    return Found(where=where, **(place | at | known | fields))


def carried(*carriers: tuple[str | None, str], **fields: Any) -> Found:
    """Return a finding in an object that commits or the index refer to."""
    return finding("history", carriers=tuple(Carrier(*each) for each in carriers), **fields)


TRACKED = finding(rule="tracked-key-file", secret=None, fingerprint=None, known_by=())


def scan(*findings: Found, unread: Sequence[Unread] = (), **fields: Any) -> Scan:
    """Return the result of a scan of files by default."""
    complete = not any(each.matters for each in unread)
    outcome = Scan(
        ok=complete and not findings,
        complete=complete,
        scanned_at=NOW,
        scope="files",
        looked_for=KNOWN,
        variables=(V1, V2),
        files=1,
        objects=1,
        size=3 << 19,
        findings=findings,
        unread=tuple(unread),
    )
    return replace(outcome, **fields)


def written(scan: Scan, *options: str) -> list[str]:
    """Return the lines of a scan as text."""
    return unpaint(scan_as_text(scan, POLICIES, options)).splitlines()


class TestText:
    """The text for operators."""

    @pytest.mark.parametrize(
        ("scope", "words"),
        [
            ("files", "files only; history: --git-history"),
            ("staged", "staged changes"),
            ("git-history", "files and git's history"),
        ],
    )
    def test_clean(self, scope: Scope, words: str) -> None:
        """A clean scan names the keys and the places that were searched, and the amount of content."""
        clean = scan(scope=scope)
        assert written(clean) == [SEARCHED, f"Scanned: 2 files and objects, 1.5 MiB ({words})", CLEAN]
        assert written(replace(clean, files=0))[1] == f"Scanned: 1 file or object, 1.5 MiB ({words})"

    def test_found(self) -> None:
        """Findings come first, then the instructions for each key and secret, once, and the verdict last."""
        findings = finding(), finding(form="base64"), finding(rule="assigned-key", fingerprint=TWO, known_by=())
        out = written(scan(*findings), "--config-dir", "conf dir")
        options = "--config-dir 'conf dir'"
        assert [line.split(":")[0] for line in out[:5]] == ["ALERT"] * 3 + ["Searched for", "Scanned"]
        assert out[5:] == [
            "",
            EXPOSED,
            TO_DO,
            PLAN,
            f"     robodj-secretguard rotate plan secret.key --emergency {options}",
            REVOKE,
            f"     robodj-secretguard revoke --fingerprint {ONE} --reason 'found by a scan' {options}",
            f"     robodj-secretguard revoke --fingerprint {TWO} --reason 'found by a scan' {options}",
            f"3. {DELETE}",
            "",
            "Scan FAILED: 3 findings.",
        ]

    def test_colour_is_that_of_the_severity(self) -> None:
        """Findings and a failed verdict are red. What was not read is yellow if it matters."""
        first, *_, verdict = scan_as_text(scan(finding()), POLICIES, ()).splitlines()
        assert first.startswith("\x1b[31mALERT:\x1b[0m ")
        assert verdict == "\x1b[31mScan FAILED:\x1b[0m 1 finding."
        unread, note, *_, verdict = scan_as_text(scan(unread=(MISSING, NOTE)), POLICIES, ()).splitlines()
        assert unread.startswith("\x1b[33mINCOMPLETE:\x1b[0m ")
        assert note.startswith("note: ")
        assert verdict.startswith("Scan \x1b[33mINCOMPLETE\x1b[0m: ")

    @pytest.mark.parametrize("findings", [(), (finding(secret=None, fingerprint=None),)], ids=len)
    def test_incomplete(self, findings: tuple[Found, ...]) -> None:
        """Content that was not read is listed, and is in the verdict if it matters."""
        out = written(scan(*findings, unread=(MISSING, NOTE, MISSING)))
        missing = "INCOMPLETE: PATH 1: it does not exist"
        assert out[len(findings) :][:3] == [missing, "note: config/secret.key: a fallback file", missing]
        verdict = f"Scan INCOMPLETE: {len(findings)} finding{'' if findings else 's'}. Fix each line above"
        assert (out[-1].startswith(verdict), TO_DO in out) == (True, bool(findings))
        assert written(scan(unread=(NOTE,)))[-1] == CLEAN

    @pytest.mark.parametrize(
        ("found", "subject", "what"),
        [
            (finding(), "secret.key: known-key", f"contains the key (form: raw; known by: environment; {ONE})"),
            (
                finding(secret=None, environment="dev", known_by=()),
                "a key (dev): known-key",
                f"contains the key (form: raw; {ONE})",
            ),
            (
                finding(form="hex", known_by=("a", "b")),
                "secret.key: known-key",
                f"contains the key (form: hex; known by: a, b; {ONE})",
            ),
            (
                finding(rule="assigned-key", known_by=()),
                "secret.key: assigned-key",
                f"sets the variable to a valid key (form: raw; {ONE})",
            ),
            (TRACKED, "a key: tracked-key-file", "git tracks this key file, which is more than a template"),
        ],
        ids=range(5),
    )
    def test_alerts(self, found: Found, subject: str, what: str) -> None:
        """An alert names the secret, the rule, the place, the encoding and the known facts of the key."""
        assert written(scan(found))[0] == f"ALERT: {subject}: a.txt:2:7: {what}"

    @pytest.mark.parametrize(
        ("found", "place"),
        [
            (finding(), "a.txt:2:7"),
            (finding("name", line=None), "a.txt, in its name"),
            (finding("link"), "a.txt, in the target of the link"),
            (finding("index"), "a.txt:2:7 in the index"),
            (carried(), f"blob {'d' * 40}:2:7, in no reachable commit"),
            (carried(object_type="tree", line=None), f"tree {'d' * 40}, in a name in it"),
            (carried(object_type="commit"), f"commit {'d' * 40}:2:7"),
            (carried((COMMITS[0], "b")), f"b:2:7 in commit {COMMITS[0]}"),
            (carried((COMMITS[0], "b"), (COMMITS[0], "c")), f"b:2:7 in commit {COMMITS[0]}"),
            (carried((None, "b"), (None, "c")), "b:2:7 in the index"),
            (carried((COMMITS[0], "b"), (COMMITS[1], "b")), f"b:2:7 in commit {COMMITS[0]} and 1 more commit"),
            (carried(*((each, "b") for each in COMMITS), (None, "c")), f"b:2:7 in commit {COMMITS[0]} and {MORE}"),
        ],
        ids=range(12),
    )
    def test_places(self, found: Found, place: str) -> None:
        """Each kind of place has its own description."""
        assert written(scan(found))[0].startswith(f"ALERT: secret.key: known-key: {place}: contains the key ")

    @pytest.mark.parametrize(
        ("looked_for", "words"),
        [
            ((), ""),
            (KNOWN * 2, "secret.key, the keys from --keys-from, "),
            ((KnownKey(ONE, "a", known_by=("operations log", "revocation list")),), "1 key by fingerprint, "),
            ((KnownKey(ONE), KNOWN[0], KnownKey(TWO)), "secret.key, 2 keys by fingerprint, "),
        ],
        ids=range(4),
    )
    def test_what_was_searched_for(self, looked_for: tuple[KnownKey, ...], words: str) -> None:
        """A delivered key is named by its secret. The others are counted."""
        assert written(scan(looked_for=looked_for))[0] == f"Searched for: {words}assignments of {V1}, {V2}"

    def test_staged(self) -> None:
        """A staged key is removed from the index first, and nothing else is deleted."""
        out = written(scan(finding("index"), scope="staged"))
        assert out[4:9] == [
            STAGED,
            TO_DO,
            "1. Remove it from the next commit (before the first commit: git rm --cached -- PATH):",
            "     git restore --staged -- PATH",
            PLAN.replace("1.", "2."),
        ]
        assert not any(DELETE in line for line in out)

    def test_a_key_that_is_revoked_later(self) -> None:
        """A key whose entry on the list begins later is not revoked yet: a command revokes it now."""
        out = written(scan(finding(), looked_for=(KnownKey(ONE, known_by=("operations log", DATED_SOURCE)),)))
        assert not any("already revoked" in line for line in out)
        assert any(f" revoke --fingerprint {ONE} " in line for line in out)

    @pytest.mark.parametrize("source", ["environment", "operations log"])
    def test_a_revoked_key(self, source: str) -> None:
        """A revoked key is not revoked again. It is replaced only if something delivers it."""
        out = written(scan(finding(), looked_for=(KnownKey(ONE, known_by=(source, "revocation list")),)))
        is_live = source == "environment"
        assert f"{1 + 1 * is_live}. {ONE} is already revoked. Make sure that nothing uses it." in out
        assert ((PLAN in out), any("--fingerprint" in line for line in out)) == (is_live, False)

    def test_a_tracked_key_file(self) -> None:
        """A tracked key file without a known key is removed from the index, and nothing is revoked or rotated."""
        assert written(scan(TRACKED))[3:-1] == ["", EXPOSED, TO_DO, *UNTRACK, f"2. {DELETE}", ""]

    def test_a_secret_that_is_not_declared(self) -> None:
        """No command is shown for an undeclared secret, since the command would refuse it."""
        out = written(scan(finding(secret="player.key")))  # noqa: S106 - a name
        assert [line.split()[1] for line in out if line.startswith("     robodj-secretguard")] == ["revoke"]
