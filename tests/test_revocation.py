"""The revocation list as it is read and added to, and what is known about a revoked key."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import OTHER, fingerprint_of, rotated
from conftest import NOW, V1, as_user, clean_environment, good_keys, marker, posix_only, umask
from mounts import run_with_mounts
from races import just_before
from rule_cases import model_of

from robodj_secretguard import Kind, RuntimeSecrets, check
from robodj_secretguard.common import files
from robodj_secretguard.common.shapes import Slots
from robodj_secretguard.errors import FileError
from robodj_secretguard.lifecycle import revocation as list_module
from robodj_secretguard.lifecycle.records import Record, Who, draft, slots_of
from robodj_secretguard.lifecycle.revocation import (
    HEADER,
    add_to_list,
    draft_revocation,
    known_of,
    revocable_key,
    steps_after,
)
from robodj_secretguard.startup.readings import MAX_LIST_BYTES

NAME = "revoked.fingerprints"
VARIABLE = "ROBODJ_REVOKED_FINGERPRINTS"
HOUR = timedelta(hours=1)


POLICIES = tuple(RuntimeSecrets.secret_policies.values())


def another() -> str:
    """Return the fingerprint of a new key."""
    return fingerprint_of(secrets.token_urlsafe(32))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An empty config directory."""
    config = tmp_path / "config"
    config.mkdir(mode=0o700)
    return config


def key_of(fingerprint: str | None = None, **fields: Any) -> Record:
    """Return the draft of a revocation record."""
    fields = {"secret": "secret.key", "reason": "leaked"} | fields
    return draft("revoked", fingerprint=fingerprint or another(), **fields)


def entry(key: Record) -> str:
    """Return the line that a revocation adds to the list."""
    return f"# 2026-12-01T12:00:00Z {key.subject}: {key.reason}\n{key.fingerprint}\n"


def add(config: Path, key: Record) -> bool:
    """Add a key to the list."""
    return add_to_list(str(config), key, now=NOW)


def refused(config: Path, key: Record | None = None) -> str:
    """Add a key to the list, which must fail, and return the reason."""
    key = key or key_of()
    with pytest.raises(FileError) as caught:
        add(config, key)
    why, end, _ = str(caught.value).partition(f"; until that is fixed, add {key.fingerprint} to {VARIABLE}")
    assert end
    return why


def content(config: Path) -> str:
    """Return the list."""
    return (config / NAME).read_bytes().decode()


PLAIN = {
    "a comment at the end": ("# ours\n\n{other} # leaked\nno fingerprint\n# end", True),
    "a line end": ("# ours\n\n{other} # leaked\nno fingerprint\n", True),
    "a mark at the beginning, and CRLF": ("\ufeff{other}\r\n# café\r\n", True),
    "a dated entry": ("{key}@2026-12-01T11:00:00Z\n", True),
    "an entry": ("{key}\n", False),
    "an entry with a comment": ("{key} # by hand", False),
    "an entry after a mark": ("\ufeff{key}", False),
}


class TestAdd:
    """An entry is added to the list, and no other content is lost."""

    def test_new(self, config: Path) -> None:
        """A new list begins with a header. A second entry follows the first, and a listed one is not added again."""
        first, second = key_of(), key_of(secret=None)
        assert [add(config, key) for key in (first, second, first)] == [True, True, False]
        assert content(config) == HEADER + entry(first) + entry(second)
        assert entry(second).startswith("# 2026-12-01T12:00:00Z an unknown secret: leaked\n")
        assert os.listdir(config) == [NAME]

    @pytest.mark.parametrize(("before", "is_added"), PLAIN.values(), ids=PLAIN)
    def test_revoked_key(self, config: Path, before: str, *, is_added: bool) -> None:
        """Comments, invalid entries and line ends stay. A dated entry is not enough."""
        key = key_of()
        (config / NAME).write_bytes((before := before.format(key=key.fingerprint, other=another())).encode())
        assert add(config, key) is is_added
        end = "" if before.endswith("\n") else "\n"
        assert content(config) == (f"{before}{end}{entry(key)}" if is_added else before)

    @pytest.mark.parametrize(
        ("listed", "is_new"),
        [
            ("", True),
            ("@2026-12-01T13:00:01Z", True),
            ("@2026-12-01T13:00:00Z", False),
            ("@2026-12-01T12:59:59+00:00", False),
            (" # plain", False),
        ],
        ids=["none", "later", "the same", "earlier", "plain"],
    )
    def test_replaced_key(self, config: Path, listed: str, *, is_new: bool) -> None:
        """A replaced key gets an entry with its deadline, unless it has the same or an earlier one."""
        old, new = another(), another()
        (config / NAME).write_text(before := f"# ours\n{old}{listed}\n" if listed else "# ours\n")
        record = rotated(NOW, new, replaced=old, replaced_until=NOW + HOUR)
        assert add(config, record) is is_new
        line = f"# 2026-12-01T12:00:00Z secret.key: replaced by {new}\n{old}@2026-12-01T13:00:00Z\n"
        assert content(config) == before + (line if is_new else "")

    def test_empty(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An empty list may be a checkout in progress. After half a second, it is begun like a new one."""
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        (config / NAME).touch(0o600)
        key = key_of()
        assert add(config, key)
        assert content(config) == HEADER + entry(key)
        assert sum(slept) == pytest.approx(0.5)

    @posix_only
    @pytest.mark.parametrize(("before", "after"), [(None, 0o644), (0o600, 0o600), (0o664, 0o664)])
    def test_mode(self, config: Path, before: int | None, after: int) -> None:
        """Everybody may read a new list, whatever the umask. An existing list keeps its mode."""
        if before is not None:
            (config / NAME).write_text("# ours\n")
            (config / NAME).chmod(before)
        with umask(0o377):
            add(config, key_of())
        assert (config / NAME).stat().st_mode == 0o100000 | after


ADDS = """
import sys
from robodj_secretguard.lifecycle.revocation import add_to_list
from robodj_secretguard.lifecycle.records import Event, draft
from datetime import datetime, UTC
try:
    add_to_list("config", draft("revoked", reason="leaked", fingerprint=sys.argv[1]), now=datetime.now(UTC))
except OSError as error:
    print(error)
"""


def added_with_mounts(config: Path, *mounts: str) -> str:
    """Add to the list in a process with mounts, which must fail, and return the reason."""
    ran = run_with_mounts(mounts, [sys.executable, "-c", ADDS, another()], env=clean_environment(), cwd=config.parent)
    assert (ran.status, ran.err) == (0, "")
    return ran.out.partition("; until that is fixed, add sgfp1:")[0]


@posix_only
class TestRefused:
    """If a list cannot be changed, the reason is reported and the list stays as it was."""

    def test_encoding(self, config: Path) -> None:
        """A list that is not UTF-8 is refused, since its entries are unknown."""
        (config / NAME).write_bytes(b"\xff\n")
        assert refused(config) == "it is not UTF-8"
        assert (config / NAME).read_bytes() == b"\xff\n"

    @pytest.mark.parametrize("reason", ["leaked", "\N{LATIN SMALL LETTER E WITH ACUTE}" * 400])
    @pytest.mark.parametrize("is_listed", [False, True])
    def test_full(self, config: Path, reason: str, *, is_listed: bool) -> None:
        """A list does not grow beyond the size that can be read."""
        key = key_of(reason=reason)
        start = f"{key.fingerprint}\n" if is_listed else ""
        room = MAX_LIST_BYTES - len(start) - (0 if is_listed else len(entry(key).encode()))
        before = start + "#" * (room - 1) + "\n"
        (config / NAME).write_text(before)
        assert refused(config, key) == "it is full (the limit is 262144 bytes)"
        assert content(config) == before
        (config / NAME).write_text(before[:-2] + "\n")
        assert add(config, key) is not is_listed

    def test_no_directory(self, config: Path) -> None:
        """A missing config directory is not made."""
        config.rmdir()
        assert refused(config) == "the config directory does not exist; create it, or pass --config-dir"
        assert os.listdir(config.parent) == []

    def test_locked(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who may only read the list can lock it. That delays a revocation, and does not prevent it."""
        monkeypatch.setattr(files, "LOCK_SECONDS", 0.1)
        (config / NAME).write_text("# ours\n")
        with (config / NAME).open("rb") as file, files.locked(file.fileno()):
            assert add(config, key := key_of())
        assert content(config) == "# ours\n" + entry(key)

    def test_read_only_file_system(self, config: Path) -> None:
        """On a read-only file system, the message names the place for the entry."""
        (config / NAME).write_text("# ours\n")
        place = f"config/{NAME}"
        assert added_with_mounts(config, f"mount --bind {place} {place}", f"mount -o remount,bind,ro {place}") == (
            "its file system is read-only; add the entry in the repository that it comes from, then deploy it"
        )

    def test_not_permitted(self, config: Path) -> None:
        """A user without write permission reads which mode to change."""
        (config / NAME).write_text("# ours\n")
        (config / NAME).chmod(0o444)
        with as_user(65534):
            message = refused(config)
        assert message == "this user cannot write it; as its owner, run chmod u+w on it and then this command"
        assert content(config) == "# ours\n"


CHANGES: dict[str, Callable[[Path, str], object]] = {
    "replaced, as git does": lambda path, text: path.rename(path.with_name("old")).with_name(NAME).write_text(text),
    "written in place, as cp does": lambda path, text: path.write_text(text),
    "appended to, as >> does": lambda path, text: path.write_text(path.read_text() + text),
}
MOMENTS = {
    "before the lock": (list_module, "locked"),
    "before it is read": (list_module, "content_of"),
    "after it was read": (list_module, "text_of"),
    "before the write": (os, "write"),
    "before it is synced": (os, "fsync"),
    "before it is verified": (list_module, "is_at"),
}


@posix_only
class TestRaces:
    """git or a deployment changes the list while an entry is added: both contents are kept."""

    @pytest.fixture
    def other(self) -> str:
        """The content that another program writes."""
        return f"# theirs\n{another()}\n"

    @pytest.mark.parametrize("before", ["new", "there", "listed"])
    @pytest.mark.parametrize("moment", MOMENTS)
    @pytest.mark.parametrize("change", CHANGES)
    def test_changed(  # noqa: PLR0917 - the columns of the table
        self, config: Path, monkeypatch: pytest.MonkeyPatch, other: str, change: str, moment: str, before: str
    ) -> None:
        """In the end, the list has the entry and the other program's content."""
        key, path = key_of(), config / NAME
        initial = {"new": "", "there": "# ours\n", "listed": f"{key.fingerprint}\n"}[before]
        if initial:
            path.write_text(initial)
        just_before(monkeypatch, *MOMENTS[moment], lambda: CHANGES[change](path, other))
        is_new = add(config, key)
        if before == "listed" and (change.startswith("appended") or MOMENTS[moment][0] is os):
            assert (is_new, content(config).replace(other, "")) == (False, initial)
        elif change.startswith("appended"):
            lines = content(config).removeprefix(HEADER).splitlines()
            assert sorted(lines) == sorted((initial + other + entry(key)).splitlines())
        else:
            assert (is_new, content(config)) == (True, other + entry(key))

    def test_deleted(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A list that is deleted meanwhile is begun again."""
        key, path = key_of(), config / NAME
        path.write_text("# ours\n")
        just_before(monkeypatch, list_module, "is_at", path.unlink)
        assert add(config, key)
        assert content(config) == HEADER + entry(key)

    def test_being_written(self, config: Path, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
        """An empty list is waited for, and added to when it is whole."""
        key, path = key_of(), config / NAME
        path.touch(0o600)
        just_before(monkeypatch, time, "sleep", lambda: path.write_text(other))
        assert add(config, key)
        assert content(config) == other + entry(key)

    def test_two_begin_it(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The process that made the list does not wait for itself, and adds to the other program's content."""
        key, other = key_of(), key_of()
        monkeypatch.setattr(time, "sleep", lambda _: None)
        just_before(monkeypatch, list_module, "locked", lambda: add(config, other))
        assert add(config, key)
        assert content(config) == HEADER + entry(other) + entry(key)

    def test_again_and_again(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """After 50 attempts, the command fails."""
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        monkeypatch.setattr(list_module, "is_at", lambda *_: False)
        assert refused(config) == "another program keeps changing it; stop that program, then try again"
        assert len(slept) == 50


NOT_CURRENT = (
    "Remove the {} key from the secret manager and the services. Restart each service that does"
    " not refresh its keys: until then it accepts this key."
)


HERE, ELSEWHERE = (f"sgfp1:{digit * 32}" for digit in "ab")
AT = "2026-12-01T10:00:00Z"
ROTATED = rotated(NOW - 2 * HOUR, HERE)
IN_DEV = rotated(NOW, HERE, secret=OTHER, environment="dev")


class TestKey:
    """The known facts about a key, and the steps after its revocation."""

    @pytest.mark.parametrize(
        ("key", "name", "records", "expected"),
        [
            (HERE, "secret.key", [ROTATED, IN_DEV], (OTHER, "dev", AT, True)),
            (HERE, OTHER, [ROTATED], ("secret.key", "prod", AT, True)),
            (HERE, OTHER, [replace(ROTATED, event="revoked", secret=None)], ("secret.key", None, None, True)),
            (HERE, None, [replace(IN_DEV, event="staged")], (OTHER, "dev", None, True)),
            (ELSEWHERE, OTHER, [], (OTHER, None, None, False)),
            (ELSEWHERE, None, [ROTATED, IN_DEV], (None, None, None, False)),
        ],
        ids=["the last record", "the record", "delivered", "staged", "the name", "unknown"],
    )
    def test_owner_of_the_key(
        self,
        key: str,
        name: str | None,
        records: list[Record],
        expected: tuple[Any, ...],
    ) -> None:
        """The secret is the last recorded one, otherwise that of the delivered key, otherwise the named one."""
        report = check(environ=good_keys(), now=NOW)
        first, second = report.secrets
        report = report._replace(secrets=(first._replace(fingerprint=HERE), second))
        new = draft_revocation(key, name, report, records, POLICIES, who=Who(operator="Ada", reason="leaked"))
        owner = "Security Operations" if new.secret else None
        assert new == key_of(key, secret=new.secret, environment=new.environment, operator="Ada", owner=owner)
        known = known_of(new, report, records, Slots())
        delivered_as = [{"secret": "secret.key", "slot": "current"}] if expected[3] else []
        facts = ("fingerprint", "secret", "environment", "recorded_at", "delivered_as")
        assert [known[fact] for fact in facts] == [key, *expected[:3], delivered_as]

    @pytest.mark.parametrize(
        ("is_current", "has_replacement", "has_plan"),
        [(True, False, True), (True, True, True), (False, False, True), (False, True, False)],
    )
    def test_steps(self, *, is_current: bool, has_replacement: bool, has_plan: bool) -> None:
        """The key is replaced by the plan of an emergency, unless another one is current already."""
        known: dict[str, Any] = {"secret": "secret.key", "environment": "prod", "delivered_as": []}
        facts = {"is_current": is_current, "has_replacement": has_replacement}
        steps = steps_after(known | facts, ["--operator", "Ada"])
        command = "robodj-secretguard rotate plan secret.key --emergency --environment prod --operator Ada"
        assert [each.command for each in steps] == ["", *[command] * has_plan, ""]

    @pytest.mark.parametrize("slot", ["next", "previous"])
    def test_slots(self, slot: str) -> None:
        """A next or a previous key is removed. No service needs a replacement of it."""
        other = secrets.token_urlsafe(32)
        slots = {f"{V1}_{slot.upper()}": other, f"{V1}_PREVIOUS_UNTIL": marker(HOUR)}
        report = check(environ=good_keys() | slots, now=NOW)
        key = draft_revocation(fingerprint_of(other), None, report, [], POLICIES, who=Who(reason="leaked"))
        known = known_of(key, report, [], slots_of(report.secrets[0]))
        assert (known["delivered_as"], known["is_current"]) == ([{"secret": "secret.key", "slot": slot}], False)
        first, _ = steps_after(known, [])
        assert first.text == NOT_CURRENT.format(slot)

    def test_known(self) -> None:
        """Without keys, the log tells whether a key is known, revoked or current, and whether another one follows."""
        key, new, report = key_of(), another(), check(environ={}, now=NOW)
        its_record = rotated(NOW, old := key.fingerprint or "")
        cases: list[tuple[list[Record], Slots, tuple[bool, ...]]] = [
            ([], Slots(), (False, False, False, False)),
            ([its_record], Slots(old), (True, False, True, False)),
            ([its_record], Slots(old, new), (True, False, True, True)),
            ([its_record], Slots(new), (True, False, False, True)),
            ([its_record, key], Slots(old), (True, True, True, False)),
        ]
        facts = ("is_known", "is_revoked", "is_current", "has_replacement")
        for records, expected, known in cases:
            found = known_of(key, report, records, expected)
            assert tuple(found[name] for name in facts) == known

    def test_a_listed_key(self) -> None:
        """A key on the list is known. An entry that begins later is no revocation yet. No key on it replaces one."""
        key, new = key_of(), another()
        lists = {VARIABLE: f"{key.fingerprint}@2026-12-02T00:00:00Z {new}"}
        found = known_of(key, check(environ=lists, now=NOW), [], Slots(None, new))
        assert [found[name] for name in ("is_known", "is_revoked", "has_replacement")] == [True, False, False]


def test_kind_that_shows_its_fingerprint_is_revoked() -> None:
    """A service's own kind of random keys has a fingerprint, so a key of it can be revoked."""
    kind = type("Random", (Kind,), {"has_fingerprint": True, "fault": lambda _self, _text, _variable="": None})()
    model = model_of(kind)
    (policy,) = model.secret_policies.values()
    key = secrets.token_urlsafe(32)
    assert revocable_key(policy, "", check(model, environ={"OWN_KEY": key}), []) == fingerprint_of(key)
