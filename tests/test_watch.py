"""The decisions of `exec --watch`, with a clock of the test."""

from __future__ import annotations

import math
import re
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from command_line import Machine, fingerprint_of
from conftest import NOW, V1, V2, good_keys, marker, put
from watched import BAD, EXPIRES, POLICIES, REVOKED, given

from robodj_secretguard import Check, RuntimeSecrets
from robodj_secretguard.cli.watch import ALERT_AGAIN, PROVEN_SECONDS, Candidate, Watch, outcome
from robodj_secretguard.managers.delivery import collect_variables
from robodj_secretguard.startup.guard import examine
from robodj_secretguard.startup.readings import Environment
from robodj_secretguard.startup.report import Finding, finding
from robodj_secretguard.startup.rules import Problem
from robodj_secretguard.startup.variables import REVOKED_FINGERPRINTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


NAMES = [*(name for policy in POLICIES for name in policy.variables), REVOKED_FINGERPRINTS]
SOLVED = "robodj-secretguard: nothing is wrong any more"
SOLVED_KEYS = f"{SOLVED} with the keys of vault:secret/robodj"
KEPT = "ALERT: robodj-secretguard kept the command on its last good keys: "


class Desk:
    """A watch with a clock and a random number of the test, and what it wrote.

    Attributes:
        now: the time of the checks.
        part: the part of the splay that is waited for.
        written: what the watch wrote since the last poll or restart.
    """

    def __init__(self, config: Path, first: Mapping[str, str], *, splay: float = 0, strict: bool = False) -> None:
        self.config, self.strict, self.now, self.part = config, strict, NOW, 0.5
        self.written: list[str] = []
        self.watch = Watch(
            self.candidate(first), judge=self.judge, write=self.written.append, splay=splay, uniform=self.splayed
        )

    def splayed(self, least: float, most: float) -> float:
        assert least == 0
        return self.part * most

    def candidate(self, variables: Mapping[str, str]) -> Candidate:
        return self.judge(Candidate([given(variables)], {}, None, passed=False))  # type: ignore[arg-type]

    def judge(self, candidate: Candidate) -> Candidate:
        withdrawn = self.watch.revoked if hasattr(self, "watch") else frozenset()
        report, _ = examine(
            RuntimeSecrets,
            environment=Environment({REVOKED: ",".join(withdrawn)}),
            config_dir=self.config,
            require_env_only=True,
            managers=candidate.managers,
            now=self.now,
        )
        passed = report.ok and not (self.strict and report.warnings)
        return Candidate(candidate.managers, collect_variables(candidate.managers, RuntimeSecrets), report, passed)

    def polled(self, variables: Mapping[str, str], now: float = 0) -> list[str]:
        """Take a poll, and return what it wrote."""
        return self.taken(self.candidate(variables), now)

    def failed(self, check: Check, now: float = 0) -> list[str]:
        """Take a poll in which the source failed."""
        problem = Problem("vault:secret/robodj is sealed", "unseal it", "vault:secret/robodj")
        return self.taken(finding(POLICIES, check, problem), now)

    def taken(self, read: Candidate | Finding, now: float) -> list[str]:
        self.written.clear()
        self.watch.polled(read, now)
        return self.lines

    @property
    def lines(self) -> list[str]:
        """The written lines, without the records and the fixes."""
        lines = [line for text in self.written for line in text.splitlines()]
        return [line for line in lines if not line.startswith(("  fix: ", "{"))]

    @property
    def events(self) -> list[str]:
        """The event and the secret of each record."""
        found = re.findall(r'"event":"(\w+)","secret":"?([\w.]+)', "\n".join(self.written))
        return [" ".join(each) for each in found]

    def restart(self, now: float) -> Candidate:
        """Restart the command on the set that is due."""
        candidate = self.watch.take(now)
        assert candidate is not None
        self.written.clear()
        self.watch.applied(candidate, now)
        return candidate


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An empty config directory."""
    config = tmp_path / "config"
    config.mkdir(mode=0o700)
    return config


FIRST, OTHER, THIRD = good_keys(), good_keys(), good_keys()


def revoke(config: Path, *keys: str) -> None:
    """Put keys on the revocation list of the config directory."""
    put(config / "revoked.fingerprints", "".join(f"{fingerprint_of(each)}\n" for each in keys))


class TestRestart:
    """A changed set that passes."""

    def test_the_same_set(self, config: Path) -> None:
        """The same set changes nothing."""
        desk = Desk(config, FIRST)
        assert (desk.polled(FIRST), desk.watch.due, desk.watch.take(99)) == ([], math.inf, None)

    def test_splay(self, config: Path) -> None:
        """The restart waits for a random part of the splay, and a later poll with the same set does not delay it."""
        desk = Desk(config, FIRST, splay=10)
        waits = ["robodj-secretguard: restarts the command in 5 s, on a changed set of vault:secret/robodj"]
        assert (desk.polled(OTHER, now=3), desk.watch.due) == (waits, 8)
        desk.part = 1
        assert (desk.polled(OTHER, now=4), desk.watch.due, desk.watch.take(7)) == ([], 8, None)
        assert desk.restart(8).variables == desk.candidate(OTHER).variables
        assert desk.lines == ["robodj-secretguard: restarted the command on a changed set of vault:secret/robodj"]
        assert desk.events == ["applied secret.key", "applied secret_v2.key"]
        assert desk.watch.due == math.inf

    def test_another_set_while_it_waits(self, config: Path) -> None:
        """A newer set replaces the one that waits. A bad or reverted one cancels it, and an absent source does not."""
        desk = Desk(config, FIRST, splay=10)
        assert desk.polled(OTHER, now=0) != []
        desk.polled(THIRD, now=1)
        assert desk.watch.due == 6
        assert desk.failed(Check.UNAVAILABLE, now=2) != []
        assert desk.restart(6).variables == desk.candidate(THIRD).variables
        for cancels in (THIRD, BAD):
            desk.polled(OTHER, now=9)
            desk.polled(cancels, now=9)
            assert (desk.watch.due, desk.watch.take(99)) == (math.inf, None)

    def test_it_is_checked_again(self, config: Path) -> None:
        """A set that became bad while it waited is refused. Its warnings are shown with a restart."""
        desk = Desk(config, FIRST, splay=10)
        late = OTHER | {EXPIRES: marker(timedelta(hours=1))}
        desk.polled(late)
        desk.written.clear()
        desk.now += timedelta(hours=2)
        assert desk.watch.take(9) is None
        assert [line[:26] for line in desk.lines] == ["ALERT: secret.key: expired", KEPT[:26]]
        assert desk.events == ["refused secret.key"]
        desk.now = NOW
        desk.polled(late, now=10)
        desk.restart(15)
        assert desk.lines[0].startswith("WARNING: secret.key: expiring: ")

    def test_other_variables(self, config: Path) -> None:
        """A set with the same keys and another marker is a changed one. Its record is about no secret."""
        desk = Desk(config, FIRST)
        desk.polled(FIRST | {EXPIRES: marker(timedelta(days=20))})
        desk.restart(0)
        assert (desk.events, len(desk.written)) == (["applied null"], 2)

    def test_strict(self, config: Path) -> None:
        """With `--strict`, a set with a warning is refused."""
        desk = Desk(config, FIRST, strict=True)
        lines = desk.polled(OTHER | {EXPIRES: marker(timedelta(days=1))})
        assert lines[0].startswith("WARNING: secret.key: expiring: ")
        assert lines[1:] == [f"{KEPT}1 warning. Details: robodj-secretguard explain expiring"]
        assert desk.events == ["refused secret.key"]


class TestAlerts:
    """What is wrong is reported at once, and then once in an hour."""

    def test_a_bad_set(self, config: Path) -> None:
        """Each newly seen set is reported, also with the same fault, and repeated while it stays."""
        desk = Desk(config, FIRST)
        lines = desk.polled(BAD)
        assert lines == [
            "ALERT: secret.key: placeholder: ROBODJ_SECRET_KEY is a placeholder, not a key",
            lines[1],
            f"{KEPT}2 alerts. Details: robodj-secretguard explain placeholder missing",
        ]
        assert desk.events == ["refused secret.key", "refused secret_v2.key"]
        assert max(map(len, lines)) <= 140
        assert desk.polled(BAD, now=ALERT_AGAIN - 1) == []
        assert desk.polled(BAD, now=ALERT_AGAIN) == lines
        assert desk.events == []
        assert desk.polled(BAD, now=ALERT_AGAIN + 1) == []
        assert desk.polled({V1: "change-me"}, now=ALERT_AGAIN + 2) == lines
        assert desk.polled(BAD, now=ALERT_AGAIN + 3) == lines
        assert desk.polled(FIRST) == [f"{SOLVED} with the set of vault:secret/robodj"]
        assert desk.polled(FIRST) == []
        assert desk.polled(BAD, now=ALERT_AGAIN + 4) == lines

    def test_another_fault(self, config: Path) -> None:
        """Another fault of the same check is reported at once."""
        desk = Desk(config, FIRST)
        desk.watch.polled(finding(POLICIES, Check.SOURCE, Problem("has A, which others can write", "")), 0)
        desk.written.clear()
        desk.watch.polled(finding(POLICIES, Check.SOURCE, Problem("has B, which others can write", "")), 1)
        assert "has B" in desk.lines[0]

    def test_no_start_in_a_fix(self, config: Path) -> None:
        """A fix for a running command does not tell to start it again: the source is read again anyway."""
        desk = Desk(config, FIRST)
        desk.watch.polled(finding(POLICIES, Check.SOURCE, Problem("is sealed", "unseal it, then start again")), 0)
        assert "\n  fix: unseal it. Owner" in desk.written[0]

    def test_the_running_set_beside_a_bad_one(self, config: Path) -> None:
        """While a bad set is published, an expiry of the keys in use is reported too, and each of them once."""
        first = FIRST | {EXPIRES: marker(timedelta(hours=1))}
        desk = Desk(config, first)
        desk.polled(BAD)
        desk.now += timedelta(hours=2)
        assert desk.polled(BAD, now=1)[0].startswith("ALERT: secret.key: expired: ")
        assert desk.failed(Check.UNAVAILABLE, now=2)[0].startswith("WARNING: unavailable: ")
        assert desk.polled(BAD, now=3) == []
        assert desk.polled(first, now=4) == [f"{SOLVED} with the set of vault:secret/robodj"]

    def test_warnings(self, config: Path) -> None:
        """A warning that was not there at the start is shown once, and not repeated."""
        desk = Desk(config, FIRST | {EXPIRES: marker(timedelta(days=1))})
        assert desk.polled(FIRST | {EXPIRES: marker(timedelta(days=1))}, now=1) == []
        first = FIRST | {EXPIRES: marker(timedelta(days=15))}
        desk = Desk(config, first)
        desk.now += timedelta(days=2)
        (line,) = desk.polled(first, now=1)
        assert line.startswith("WARNING: secret.key: expiring: ")
        assert desk.polled(first, now=2 * ALERT_AGAIN) == []

    def test_expiry(self, config: Path) -> None:
        """A key that expires while the command runs is an alert. It stops nothing, and is no refusal."""
        first = FIRST | {EXPIRES: marker(timedelta(hours=1))}
        desk = Desk(config, first)
        desk.now += timedelta(hours=2)
        lines = desk.polled(first)
        assert lines[0].startswith("ALERT: secret.key: expired: ")
        last = (
            "ALERT: robodj-secretguard kept the command running: 1 alert. Details: robodj-secretguard explain expired"
        )
        assert (lines[1], desk.events, desk.watch.is_stopped) == (last, [], False)
        assert desk.polled(first, now=1) == []
        assert len(desk.failed(Check.UNAVAILABLE, now=2)) == 1
        desk.now = NOW - timedelta(days=20)
        lines = desk.polled(first, now=3)
        assert lines == ["robodj-secretguard: can read the keys again in vault:secret/robodj", SOLVED_KEYS]

    def test_a_source_that_is_away(self, config: Path) -> None:
        """An absent source is a warning with the time of the last successful read, and how long ago that was."""
        desk = Desk(config, FIRST)
        desk.now += timedelta(hours=1)
        desk.polled(FIRST)
        desk.now += timedelta(hours=1, minutes=5)
        kept = "the command keeps its keys, read at 2026-12-01T13:00:00Z"
        warning = f"WARNING: unavailable: vault:secret/robodj is sealed; {kept} (1 h 5 min ago)"
        assert desk.failed(Check.UNAVAILABLE) == [warning]
        assert len(warning) <= 140
        assert desk.failed(Check.UNAVAILABLE, now=1) == []
        desk.now += timedelta(hours=1)
        assert desk.failed(Check.UNAVAILABLE, now=ALERT_AGAIN) == [warning.replace("1 h", "2 h")]
        desk.polled(FIRST)
        assert desk.failed(Check.UNAVAILABLE, now=ALERT_AGAIN + 1)[0].endswith("(0 s ago)")

    def test_a_source_that_refuses(self, config: Path) -> None:
        """A source that refuses is an alert, and a record about no secret."""
        desk = Desk(config, FIRST)
        last = f"{KEPT}1 alert. Details: robodj-secretguard explain source"
        lines = ["ALERT: source: vault:secret/robodj is sealed", last]
        assert (desk.failed(Check.SOURCE), desk.events) == (lines, ["refused null"])
        assert (desk.failed(Check.SOURCE, now=1), desk.events) == ([], [])
        assert desk.polled(FIRST) == ["robodj-secretguard: can read the keys again in vault:secret/robodj"]


class TestRevoked:
    """A key that is plainly revoked while the command runs on it."""

    @pytest.mark.parametrize("how", ["file", "manager", "away", "other-fault"])
    def test_it_stops_the_command(self, config: Path, how: str) -> None:
        """The command is stopped, wherever the revocation is listed, and whatever else is wrong in that poll."""
        desk = Desk(config, FIRST)
        entry = {REVOKED: fingerprint_of(FIRST[V2])}
        if how in {"file", "away"}:
            revoke(config, FIRST[V2])
        if how == "away":
            lines = desk.failed(Check.UNAVAILABLE)
        else:
            lines = desk.polled({"file": FIRST, "manager": FIRST | entry, "other-fault": BAD | entry}[how])
        assert desk.watch.is_stopped
        assert desk.events[-1] == "stopped secret_v2.key"
        number, checks = {"other-fault": ("3 alerts", "placeholder missing revoked")}.get(how, ("1 alert", "revoked"))
        end = f"{number} (exit status 3). Details: robodj-secretguard explain {checks}"
        assert lines[-2].startswith("ALERT: secret_v2.key: revoked: ")
        assert lines[-1] == f"ALERT: robodj-secretguard stops the command: {end}"
        assert "kept" not in "".join(lines)

    def test_a_replacement(self, config: Path) -> None:
        """A poll that brings a set that passes replaces the key at once, without a splay."""
        desk = Desk(config, FIRST, splay=10)
        desk.polled(OTHER | {REVOKED: fingerprint_of(FIRST[V1])}, now=1)
        assert (desk.watch.is_stopped, desk.watch.due) == (False, 1)
        desk.restart(1)
        assert desk.polled(OTHER | {REVOKED: fingerprint_of(FIRST[V1])}, now=2) == []

    def test_a_replacement_that_became_bad(self, config: Path) -> None:
        """If the replacement does not pass when it is due, the command is stopped."""
        desk = Desk(config, FIRST)
        desk.polled(OTHER | {REVOKED: fingerprint_of(FIRST[V1])})
        revoke(config, OTHER[V1])
        assert (desk.watch.take(0), desk.watch.is_stopped) == (None, True)

    def test_a_dated_entry(self, config: Path) -> None:
        """A dated revocation stops no running command, also after its instant."""
        desk = Desk(config, FIRST)
        listed = FIRST | {REVOKED: f"{fingerprint_of(FIRST[V1])}@2026-01-01T00:00:00Z"}
        assert desk.polled(listed)[0].startswith("ALERT: secret.key: revoked: ")
        assert (desk.watch.is_stopped, desk.watch.revoked) == (False, frozenset())

    def test_it_is_remembered(self, config: Path) -> None:
        """A revocation that was seen holds after its entry was removed."""
        desk = Desk(config, FIRST | {REVOKED: fingerprint_of(THIRD[V1])})
        desk.polled(OTHER | {REVOKED: fingerprint_of(OTHER[V1])})
        desk.polled(FIRST)
        assert desk.watch.revoked == {fingerprint_of(each[V1]) for each in (OTHER, THIRD)}


class TestLastGood:
    """A set that passes the checks, and on which the command does not run."""

    def crashed(self, config: Path) -> Desk:
        desk = Desk(config, FIRST)
        desk.polled(OTHER)
        desk.restart(0)
        return desk

    def test_it_is_started_again(self, config: Path) -> None:
        """The last good set is started, and the bad one is reported and not tried again."""
        desk = self.crashed(config)
        assert desk.watch.is_on_trial(PROVEN_SECONDS - 1)
        good = desk.watch.failed(desk.watch.running, "ended at once (exit status 1)", 1)
        assert good is not None
        assert good.variables == desk.candidate(FIRST).variables
        what = "restarted the command on a changed set of vault:secret/robodj, and it ended at once (exit status 1)"
        assert desk.lines[-1] == f"ALERT: robodj-secretguard {what}"
        desk.written.clear()
        desk.watch.restored(good, 2)
        again = "started the command on its last good keys of vault:secret/robodj again"
        assert desk.lines == [f"robodj-secretguard: {again}"]
        assert (desk.events, desk.watch.is_on_trial(3)) == (["restored secret.key", "restored secret_v2.key"], False)
        assert (desk.polled(OTHER, now=4), desk.watch.due) == ([], math.inf)
        assert desk.polled(OTHER, now=ALERT_AGAIN + 1) == [f"ALERT: robodj-secretguard {what}"]
        assert (desk.polled(THIRD, now=9), desk.watch.due) == ([], 9)
        desk.polled(OTHER, now=10)
        assert desk.watch.due == 10

    def test_the_first_one_is_proven_later(self, config: Path) -> None:
        """A set is the last good one after the command ran on it for 30 seconds."""
        desk = self.crashed(config)
        for now, good in ((PROVEN_SECONDS - 1, FIRST), (3 * PROVEN_SECONDS, THIRD)):
            desk.polled({FIRST[V1]: THIRD, THIRD[V1]: OTHER}[good[V1]], now)
            desk.restart(now)
            found = desk.watch.failed(desk.watch.running, "ended", now)
            assert found is not None
            assert found.variables == desk.candidate(good).variables

    def test_it_does_not_pass_any_more(self, config: Path) -> None:
        """A last good set that was revoked is not started, and the findings say why."""
        desk = self.crashed(config)
        revoke(config, FIRST[V1])
        assert desk.watch.failed(desk.watch.running, "ended", 1) is None
        assert desk.lines[-2].startswith("ALERT: secret.key: revoked: ")
        assert desk.lines[-1].startswith("ALERT: robodj-secretguard has no good keys left: 1 alert. Details: ")

    @pytest.mark.parametrize(
        ("status", "words"), [(0, "exit status 0"), (-9, "SIGKILL"), (-signal.SIGRTMIN - 1, "signal 35")]
    )
    def test_outcome(self, status: int, words: str) -> None:
        """The end of a command is its exit status, or the name of a signal."""
        assert outcome(status) == words


class TestUsage:
    """What cannot be watched is a usage error, which says what to do instead."""

    @pytest.mark.parametrize(
        ("options", "environ", "message"),
        [
            (["--watch", "1"], {}, "--watch needs a source to watch; add --from SOURCE"),
            (["--watch", "1", "--from", "json:-"], {}, "--watch: json:- is read once; leave --watch out"),
            (["--watch", "1", "--from", "directory:/run/credentials/x"], {}, "--watch: systemd does not change the"),
            (["--watch", "1", "--from", "directory:c/x"], {"CREDENTIALS_DIRECTORY": "c"}, "--watch: systemd does not"),
            (["--watch", "1", "--from", "directory:c"], {"CREDENTIALS_DIRECTORY": "c/"}, "--watch: systemd does not"),
            (["--watch", "0"], {}, "--watch: invalid number of seconds; use one from 0.1 to 86400"),
            (["--splay", "-1"], {}, "--splay: invalid number of seconds; use one from 0 to 86400"),
            (["--stop-timeout", "1"], {}, "--splay and --stop-timeout are for the restarts of --watch; add --watch"),
            (["--splay", "1"], {}, "--splay and --stop-timeout are for the restarts of --watch; add --watch SECONDS"),
        ],
    )
    def test_options(self, tmp_path: Path, options: list[str], environ: Mapping[str, str], message: str) -> None:
        """The options of a watch have limits, and need each other."""
        machine = Machine(tmp_path, {**environ})
        ran = machine.call("exec", *(f"{options[0]}={options[1]}", *options[2:]), "--", "touch", "started")
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.startswith(f"robodj-secretguard: {message}")
        assert not (tmp_path / "started").exists()

    @pytest.mark.parametrize("source", ["directory:cc", "directory:x\0y", "vault:c/c"])
    def test_others(self, tmp_path: Path, source: str) -> None:
        """Other directories can be watched, and other sources have no path."""
        machine = Machine(tmp_path, {"CREDENTIALS_DIRECTORY": "c", "VAULT_ADDR": "http://127.0.0.1:1"})
        ran = machine.call("exec", "--watch", "1", "--wait", "0", "--from", source, "--", "x")
        assert "systemd" not in ran.err
