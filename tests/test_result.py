"""The document that `scan --format json` has written, read again: anything else is refused, and keys are redacted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from command_line import key_as_argument, machine_at
from conftest import V1

from robodj_secretguard.scan.render import lines
from robodj_secretguard.scan.result import Scan, parse

if TYPE_CHECKING:
    from pathlib import Path


DOCUMENT = """{
    "schema": 1, "ok": false, "complete": true, "scanned_at": "2026-12-01T11:00:00Z", "scope": "files",
    "looked_for": [{"fingerprint": "sgfp1:00000000000000000000000000000000", "secret": "secret.key"}],
    "variables": ["ROBODJ_SECRET_KEY"], "files": 1, "objects": 0, "size": 44, "unread": [],
    "findings": [{"rule": "known-key", "where": "file", "secret": "secret.key", "path": "work/a.txt", "line": 1,
        "column": 1, "offset": 0, "fingerprint": "sgfp1:00000000000000000000000000000000"}]
}"""


@pytest.fixture
def document() -> dict[str, Any]:
    """The document of a scan with one finding."""
    made: dict[str, Any] = json.loads(DOCUMENT)
    return made


def parsed(document: dict[str, Any]) -> Scan:
    """Parse a document that is a scan."""
    scan = parse(json.dumps(document).encode())
    assert scan is not None
    return scan


def test_round_trip(tmp_path: Path) -> None:
    """A document that the command has written is parsed without a change."""
    machine = machine_at(tmp_path)
    machine.put("work/a.txt", machine.environ[V1])
    ran = machine.call("scan", "--format", "json", "work")
    assert parsed(json.loads(ran.out)).as_dict() == json.loads(ran.out)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"ALERT: no key\n", b"\xff\xfe{}", b"\xff", b"[" * 100_000, b'{"schema": NaN}'],
    ids=range(9),
)
def test_no_scan(content: bytes) -> None:
    """Text that is not JSON, and JSON that is not a scan, are refused."""
    assert parse(content) is None


@pytest.mark.parametrize(
    "edit",
    [
        {"ok": True},
        {"complete": False},
        {"ok": True, "complete": False},
        {"findings": []},
        {"unread": [{"place": "a", "why": "b", "matters": True}]},
        {"schema": 2},
        {"extra": "more"},
        {"size": None},
        {"files": "1"},
        {"files": -1},
        {"scope": "everything"},
        {"scanned_at": "2026-12-01T12:00:00"},
        {"scanned_at": "yesterday"},
        {"variables": ["A\nALERT: forged"]},
        {"looked_for": [{"fingerprint": "sgfp1:none"}]},
        {"looked_for": [{"fingerprint": f"sgfp1:{'0' * 32}", "known_by": ["a\x1b[2J"]}]},
    ],
    ids=str,
)
def test_invalid(document: dict[str, Any], edit: dict[str, Any]) -> None:
    """A document that contradicts itself, has too many or too few fields, or would forge a line is refused."""
    edited = {name: value for name, value in (document | edit).items() if value is not None}
    assert parse(json.dumps(edited).encode()) is None


@pytest.mark.parametrize(
    "edit",
    [
        {"extra": "more"},
        {"path": "a\nALERT: forged"},
        {"path": "\x1b[2Jgone"},
        {"path": "caf\N{LATIN SMALL LETTER E WITH ACUTE}"},
        {"secret": "a\nb"},
        {"environment": "Prod!"},
        {"form": "raw\n"},
        {"rule": "another"},
        {"where": "elsewhere"},
        {"line": 0},
        {"line": True},
        {"column": -1},
        {"offset": 1.5},
        {"object": "HEAD"},
        {"kind": "file"},
        {"carriers": [{"commit": "a" * 39, "path": "b"}]},
        {"carriers": [{"commit": "a" * 40, "path": "b\n"}]},
    ],
    ids=str,
)
def test_invalid_finding(document: dict[str, Any], edit: dict[str, Any]) -> None:
    """The same holds for a finding."""
    document["findings"][0] |= edit
    assert parse(json.dumps(document).encode()) is None


def test_key_in_path(document: dict[str, Any]) -> None:
    """A name in a path that could be a key is redacted, whoever wrote the document. The other names are kept."""
    path, shown = f"/music/{key_as_argument()}/a.txt", "/music/[redacted]/a.txt"
    history = {"where": "history", "path": path, "carriers": [{"commit": "b" * 40, "path": path}]}
    document["findings"] = [document["findings"][0] | each for each in ({"path": path}, history, {"path": None})]
    document |= {"complete": False, "unread": [{"place": path, "why": "it is not there", "matters": True}]}
    scan = parsed(document)
    assert [each.path for each in scan.findings] == [shown, shown, None]
    assert (scan.findings[1].carriers[0].path, scan.unread[0].place) == (shown, shown)


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ({"where": "name"}, "work/a.txt, in the name itself"),
        ({"where": "link"}, "work/a.txt, in what the link leads to"),
        ({"where": "index"}, "work/a.txt:1:1 in the index"),
        ({"where": "file"}, "work/a.txt:1:1"),
        ({"where": "file", "line": None}, "work/a.txt"),
        ({"kind": "commit", "object": "a" * 40}, f"commit {'a' * 40}:1:1"),
        (
            {"kind": "blob", "object": "a" * 64},
            f"blob {'a' * 64}:1:1, which no commit that can be reached carries",
        ),
        ({"carriers": [(None, "x")]}, "x:1:1 in the index"),
        ({"carriers": [("b" * 40, "x")]}, f"x:1:1 in commit {'b' * 40}"),
        ({"carriers": [("b" * 40, "b"), ("c" * 40, "c")]}, f"b:1:1 in commit {'b' * 40} and 1 more commit"),
        (
            {"carriers": [(each * 40, each) for each in "bcd"]},
            f"b:1:1 in commit {'b' * 40} and 2 more commits",
        ),
    ],
    ids=range(11),
)
def test_place(document: dict[str, Any], place: dict[str, Any], shown: str) -> None:
    """Each kind of place is written in words."""
    carriers = [{"commit": commit, "path": path} for commit, path in place.get("carriers", ())]
    document["findings"][0] |= {"where": "history", **place, "carriers": carriers}
    assert lines(parsed(document))[0].startswith(f"ALERT: secret.key: known-key: {shown}: the key, raw ")
