"""The scenarios: every way in which key material reaches the library, above all by mistake."""

from __future__ import annotations

import base64
import json
import os
import secrets
import string
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import quote

from actions import HOSTS
from command_line import of_project, rotated
from conftest import V1, V2, good_keys, marker
from fleets import event

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.lifecycle.records import hash_of
from robodj_secretguard.secret.material import fingerprint
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.inputs import EVENT_SETTINGS, SECRET_EVENTS, SECRET_HEARTBEAT
from robodj_secretguard.testing import KINDS, bad_secret

NOW = datetime.now(UTC).replace(microsecond=0)
EXPIRES, EXPIRES2 = f"{V1}_EXPIRES_AT", f"{V2}_EXPIRES_AT"
NEXT, PREVIOUS, UNTIL = f"{V1}_NEXT", f"{V1}_PREVIOUS", f"{V1}_PREVIOUS_UNTIL"
REVOKED, REVOKED_FILE = "ROBODJ_REVOKED_FINGERPRINTS", "config/revoked.fingerprints"
DAYS = {days: marker(timedelta(days=days), now=NOW) for days in (-30, 5, 300)}


@dataclass
class Planted:
    """What a process is given, and which parts of it must not be shown.

    Args:
        environ: its variables.
        secret: the texts that must not be shown.
        files: the files in its working directory, by path.
        modes: the modes of some of them.
        links: symbolic links in it.
        pipes: FIFOs in it.
        repository: a directory in it that is made a git repository, of all that is in it.
        history: what that repository keeps, for `git fast-import`.
    """

    environ: dict[str, str]
    secret: list[str]
    files: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    pipes: tuple[str, ...] = ()
    repository: str = ""
    history: str = ""

    def put(self, directory: Path) -> None:
        """Write the files into the working directory of a process."""
        (directory / "config").mkdir(parents=True, mode=0o700)
        for path, content in self.files.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(content)
            (directory / path).chmod(0o600)
        for path, target in self.links.items():
            (directory / path).symlink_to(target)
        for path in self.pipes:
            os.mkfifo(directory / path)
        if self.repository:
            git(directory / self.repository, "init", "--quiet", "--template=", "--initial-branch=main")
            git(directory / self.repository, "fast-import", "--quiet", given=self.history)
            git(directory / self.repository, *(("read-tree", "HEAD") if self.history else ("add", "--all")))
        for path, mode in self.modes.items():
            (directory / path).chmod(mode)


def git(directory: Path, *arguments: str, given: str = "") -> None:
    """Run git in a repository, without the configuration of the machine."""
    environ = {"PATH": os.defpath, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    command = ["git", *arguments]
    subprocess.run(command, cwd=directory, env=environ, input=given.encode(), check=True)


class Scenario(NamedTuple):
    """What is planted, and what the process does."""

    plant: Callable[[], Planted]
    action: str = "call_guard"


def text(length: int) -> str:
    """Make secret text of a length, which begins with letters of both cases."""
    return "aZ" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length - 2))


def good(**more: str) -> Planted:
    """Plant good keys, and other variables that are not secret."""
    keys = good_keys()
    return Planted(keys | more, list(keys.values()))


def with_text(**more: str) -> tuple[Planted, str]:
    """Plant good keys, and return secret text for some other place."""
    planted, value = good(**more), text(43)
    planted.secret.append(value)
    return planted, value


def in_variable(shape: Callable[[str], str], length: int = 43, variable: str = V1, **more: str) -> Planted:
    """Plant secret text in a variable, in some form, as well as good keys."""
    planted, value = good(**more), text(length)
    planted.environ[variable] = shape(value)
    planted.secret.append(value)
    return planted


def rotated_keys(shape: Callable[[str], str] = str, length: int = 43, variable: str = NEXT, ahead: int = 5) -> Planted:
    """Plant a good key in each slot, then secret text in one variable of a slot, in some form."""
    planted = good(**{UNTIL: DAYS[ahead]})
    keys = {NEXT: good_keys()[V1], PREVIOUS: good_keys()[V1]}
    planted.environ |= keys
    if shape is not str:
        keys[variable] = text(length)
        planted.environ[variable] = shape(keys[variable])
    planted.secret += keys.values()
    return planted


def of_kind(check: str) -> Planted:
    """Plant the bad secret that a check finds, as the pytest plugin makes it."""
    policies = tuple(RuntimeSecrets.secret_policies.values())
    with tempfile.TemporaryDirectory() as directory:
        variables = bad_secret(check, policies[0], policies, directory)
        paths = [path for path in Path(directory).rglob("*") if path.is_file()]
        files = {f"config/{path.relative_to(directory)}": path.read_bytes() for path in paths}
    environ = {name: value for name, value in variables.items() if value and name != "ROBODJ_CONFIG_DIR"}
    return Planted(environ, [environ[name] for name in (V1, V2, NEXT, PREVIOUS) if name in environ], files)


def in_name(shape: Callable[[str], str]) -> Planted:
    """Plant secret text in the name of a variable."""
    planted, value = with_text()
    planted.environ[shape(value)] = "x"
    return planted


def in_key_file(
    shape: Callable[[str], str] = str, length: int = 43, path: str = "config/secret.key", encoding: str = "utf-8"
) -> Planted:
    """Plant secret text in the fallback file, in some form, and not in the variable."""
    keys, value = good_keys(), text(length)
    return Planted({V2: keys[V2]}, [keys[V2], value], {path: shape(value).encode(encoding, "surrogateescape")})


def with_events(plant: Callable[[], Planted]) -> Planted:
    """Let the process write events to stdout, and repeat them."""
    planted = plant()
    planted.environ |= {SECRET_EVENTS: "stdout", SECRET_HEARTBEAT: "86400"}
    return planted


def with_modes(**modes: int) -> Planted:
    """Plant a fallback file with other modes of the file or its directory."""
    planted = in_key_file()
    planted.modes = {{"file": "config/secret.key", "directory": "config"}[what]: mode for what, mode in modes.items()}
    return planted


def in_place_of_the_file(**other: Any) -> Planted:
    """Plant a link, or a FIFO without a writer, in place of the fallback file."""
    keys = good_keys()
    return Planted({V2: keys[V2]}, list(keys.values()), **other)


def stale(**more: str) -> Planted:
    """Plant a fallback file that is not needed."""
    planted, value = with_text(**more)
    planted.files["config/secret.key"] = value.encode()
    return planted


def revoked(*, in_file: bool) -> Planted:
    """Plant keys that are on the revocation list."""
    planted = good()
    listed = "\n".join(fingerprint(SealedStr(key)) for key in planted.secret)
    if in_file:
        planted.files[REVOKED_FILE] = listed.encode()
    else:
        planted.environ[REVOKED] = listed
    return planted


def in_list(shape: Callable[[str], str] = str, name: str = REVOKED_FILE, mode: int = 0o600) -> Planted:
    """Plant secret text in the revocation list, in some form, as well as good keys."""
    planted, value = with_text()
    planted.files[name] = shape(value).encode("utf-8", "surrogateescape")
    planted.modes[name] = mode
    return planted


def list_below_a_key() -> Planted:
    """Name a config directory whose path is a key, with an unsafe revocation list."""
    planted = in_list(mode=0o666)
    directory = planted.secret[-1]
    planted.files = {f"{directory}/revoked.fingerprints": planted.files.pop(REVOKED_FILE)}
    planted.modes = {f"{directory}/revoked.fingerprints": planted.modes.pop(REVOKED_FILE)}
    return arguments(planted, directory)


def equal(cut: int = 128) -> Planted:
    """Plant one key twice, or a key and a part of it."""
    key = secrets.token_hex(64)
    return Planted({V1: key[:cut], V2: key}, [key])


def undecodable() -> Planted:
    """Plant bytes that are not text in the environment."""
    planted = in_variable(lambda value: f"{value}\udcff\udc80")
    planted.environ[EXPIRES2] = "\udcfe"
    return planted


def swapped() -> Planted:
    """Plant names as values and values as names."""
    keys = good_keys()
    return Planted({key: name for name, key in keys.items()} | {V1: V2}, list(keys.values()))


def arguments(planted: Planted, given: object) -> Planted:
    """Write the arguments of the action. A command that needs a model gets that of RoboDJ's two secrets."""
    if isinstance(given, list) and given and all(isinstance(each, (list, tuple)) for each in given):
        given = [of_project(each) for each in given]
    elif isinstance(given, list):
        given = of_project(given)
    planted.files["arguments"] = (given if isinstance(given, str) else json.dumps(given)).encode()
    return planted


def of_the_gate(*options: str, keys: Callable[[], Planted] = good, command: str = "check") -> Callable[[], Planted]:
    """Write the arguments of the command line."""
    return lambda: arguments(keys(), [command, *options])


def argument_is_a_key(*before: str, shape: Callable[[str], str] = str, after: tuple[str, ...] = ()) -> Planted:
    """Write secret text among the arguments of the command line."""
    planted, value = with_text()
    return arguments(planted, [*before, shape(value), *after])


def path_is_a_key(*, exists: bool) -> Planted:
    """Name a path that is a key: it does not exist, or is a directory with an unsafe file."""
    planted = in_key_file(path="elsewhere/secret.key")
    directory = planted.secret[1]
    if exists:
        planted.files[f"{directory}/secret.key"] = planted.files.pop("elsewhere/secret.key")
        planted.modes[f"{directory}/secret.key"] = 0o666
    return arguments(planted, directory)


def project_has_a_key() -> Planted:
    """Plant secret text in each field of the project's configuration in turn, for a run of the gate."""
    planted, value = with_text()
    lines = (f'model = "{value}:Own"', f'model = "{value}"', f'operations-log = "{value}"', f'"{value}" = 1')
    for number, line in enumerate(lines):
        planted.files[f"project-{number}/pyproject.toml"] = f"[tool.robodj-secretguard]\n{line}\n".encode()
    return arguments(planted, [["check"], ["status", "--format", "json"], ["rotate", "plan", "secret.key"]])


def files_have_a_key() -> Planted:
    """Plant secret text in the files that `init` extends, and pass it as a path."""
    planted, value = with_text()
    planted.files |= {
        ".gitignore": f"a\n{value}".encode(),
        ".pre-commit-config.yaml": f"repos:\n- repo: {value}\n".encode(),
    }
    return arguments(planted, [["init", "--settings", f"{value}.py"], ["init"], ["init", "--yes", "--format", "json"]])


def superseded() -> Planted:
    """Plant an operations log with a later key than the one that is delivered."""
    planted = good()
    records = [
        rotated(NOW - timedelta(days=40), fingerprint(SealedStr(planted.secret[0]))),
        rotated(NOW - timedelta(days=30), fingerprint(SealedStr(text(43)))),
    ]
    lines: list[bytes] = []
    for number, record in enumerate(records, start=1):
        lines.append(replace(record, sequence=number, previous=hash_of(lines[-1]) if lines else None).line())
    planted.files["config/logs/secret_operations.jsonl"] = b"".join(line + b"\n" for line in lines)
    return arguments(planted, ["check", "--strict"])


def model_that_fails() -> Planted:
    """Plant a model whose module fails with a key in its text."""
    planted = arguments(good(), ["check", "--model", "ours:Ours"])
    planted.files["ours.py"] = f"import os\nkey = os.environ[{V1!r}]\nraise RuntimeError(key)\n".encode()
    return planted


def host(name: str) -> Callable[[], Planted]:
    """Select the host's model that the action uses."""
    return lambda: arguments(good(), name)


FORMATS: dict[str, Callable[[], Planted]] = {
    "short": lambda: in_variable(str, 15),
    "too-short": lambda: in_variable(str, 30),
    "newline": lambda: in_variable(lambda value: f"{value}\n"),
    "blanks": lambda: in_variable(lambda value: f" {value}\t"),
    "quotes": lambda: in_variable(lambda value: f'"{value}"'),
    "padding": lambda: in_variable(lambda value: f"{value}=="),
    "escapes": lambda: in_variable(lambda value: f"{value}\x1b[31m\u202e\r\n\x07ALERT: forged: {value}"),
    "two-lines": lambda: in_key_file(lambda value: f"{value}\n{value}\n"),
    "long": lambda: in_variable(lambda value: f"{value * 1500}!"),
}
FILES: dict[str, Callable[[], Planted]] = {
    "writable": lambda: with_modes(file=0o666),
    "directory-writable": lambda: with_modes(directory=0o777),
    "large": lambda: in_key_file(lambda value: value * 120),
    "utf-16": lambda: in_key_file(encoding="utf-16"),
    "latin-1": lambda: in_key_file(lambda value: f"{value}\udcff"),
    "nul": lambda: in_key_file(lambda value: f"{value}\0{value}"),
    "comments": lambda: in_key_file(lambda value: f"# {value}\n"),
    "byte-order-mark": lambda: in_key_file(lambda value: f"\ufeff{value}\r\n"),
    "fifo": lambda: in_place_of_the_file(pipes=("config/secret.key",)),
    "device": lambda: in_place_of_the_file(links={"config/secret.key": "/dev/zero"}),
    "is-a-directory": lambda: in_place_of_the_file(links={"config/secret.key": "."}),
    "link-loop": lambda: in_place_of_the_file(links={"config/secret.key": "secret.key"}),
    "dangling": lambda: in_place_of_the_file(links={"config/secret.key": "nothing"}),
}
LISTS: dict[str, Callable[[], Planted]] = {
    "is-a-key": in_list,
    "has-a-key": lambda: in_list(lambda value: f"# keys\n{value} # leaked\nsgfp1:{value}\nsecret.key={value}\r\n"),
    "has-a-key-in-a-comment": lambda: in_list(lambda value: f"# {value}\nsgfp1:{'0' * 32} # {value}\n"),
    "large": lambda: in_list(lambda value: f"{value}\n" * 25000),
    "not-utf-8": lambda: in_list(lambda value: f"{value}\udcff"),
    "escapes": lambda: in_list(lambda value: f"\x1b[31m\u202e{value}\rALERT: forged: {value}\0"),
    "misnamed": lambda: in_list(name=f"{REVOKED_FILE}.txt"),
}
RECORD = ("rotate", "record", "--environment", "prod", "--operator", "Jane")
INCIDENT = ("incident", "--since", "2026-11-01")
LIFE: tuple[tuple[str, ...], ...] = (
    ("check",),
    ("status",),
    ("rotate", "plan", "secret.key"),
    (*RECORD, "--attest", "startup"),
    (*RECORD, "--attest", "functions"),
    RECORD,
    ("log", "show"),
    ("log", "verify"),
    ("status", "--strict"),
    ("revoke", "secret.key", "--reason", "leaked"),
    ("revoke", "secret.key", "--reason", "leaked", "--yes", "--without-replacement"),
    RECORD,
    INCIDENT,
)
"""Commands for the whole life of a secret, in order."""


def of_life(keys: Callable[[], Planted] = good, *options: str, **more: str) -> Callable[[], Planted]:
    """Write commands for the whole life of a secret."""

    def plant() -> Planted:
        planted = keys()
        planted.environ |= more
        return arguments(planted, [[*command, *options] for command in LIFE])

    return plant


def of_generate(*commands: tuple[str, ...], **more: str) -> Callable[[], Planted]:
    """Write commands that generate keys where keys exist, and print none."""
    return lambda: arguments(good(**more), [["generate", *command] for command in commands])


WITH_A_KEY: tuple[tuple[str, ...], ...] = (
    ("generate", "{}"),
    *(("log", "show", option, "{}") for option in ("--secret", "--event", "--since", "--until", "--operations-log")),
    ("log", "verify", "--expect", "{}"),
    ("rotate", "plan", "{}"),
    ("rotate", "record", "--environment", "{}", "--operator", "Jane"),
    ("rotate", "record", "--environment", "prod", "--operator", "{}"),
    (*RECORD, "{}"),
    *((*RECORD, option, "{}") for option in ("--ticket", "--note", "--attest", "--known", "--from")),
    (*RECORD, "--operations-log", "{}"),
    ("revoke", "{}", "--reason", "leaked"),
    ("revoke", "--reason", "leaked", "--fingerprint", "{}"),
    ("revoke", "--reason", "leaked", "--key-from", "{}"),
    ("revoke", "secret.key", "--yes", "--reason", "see https://ours.invalid/{}/x"),
    ("incident", "--since", "{}"),
    (*INCIDENT, "--config-dir", "{}"),
    ("{}", "{}"),
)
"""Commands with a pasted key in each possible argument."""


def key_among_arguments() -> Planted:
    """Write commands with a key among their arguments, after one command that has begun a log."""
    planted, value = with_text()
    return arguments(planted, [RECORD, *([word.format(value) for word in command] for command in WITH_A_KEY)])


def revoked_from_a_file() -> Planted:
    """Write commands that revoke the keys in files: known, unknown, several, weak, and in a name."""
    planted, value = with_text()
    planted.files |= {
        "known": f'export KEY="{planted.secret[0]}="\n'.encode(),
        "unknown": value.encode(),
        "two": "\n".join(planted.secret).encode(),
        "weak": f"{value[:11]}\n".encode(),
        "not-ascii": f"{value}\udcff\x1b[2J".encode(errors="surrogateescape"),
        value: b"",
    }
    command = ("revoke", "secret.key", "--reason", "leaked", "--key-from")
    flags = ("--yes", "--unknown", "--without-replacement")
    return arguments(planted, [[*command, name, *more] for name in planted.files for more in ((), flags)])


def life_in(variable: str) -> Planted:
    """Plant a key in a variable that holds a path, and write commands for the whole life of a secret."""
    planted = in_variable(str, variable=variable)
    planted.files[f"{planted.secret[-1]}/nothing" if variable == "ROBODJ_CONFIG_DIR" else "nothing"] = b""
    return of_life(lambda: planted)()


SCANS: tuple[tuple[str, ...], ...] = tuple(("scan", "--format", form) for form in ("text", "json"))
"""A scan in each output format."""


FLEET = ("fleet", "--roster", "roster")
"""Which keys a fleet runs on, without its last arguments."""


def fleet_is_a_key() -> Planted:
    """Plant a key in each field of an event and of the roster, in the token for Prometheus, and as each argument."""
    planted, value = with_text()
    of_secret: list[dict[str, object]] = [
        {value: {}},
        {"secret.key": {"current": value}},
        {"secret.key": {value: value}},
    ]
    documents = [event() | {name: value} for name in (*event(), "namespace", "log")]
    documents += [event() | {"secrets": each} for each in of_secret]
    rosters = [
        f"[{value}]\ninstances = 1",
        f"[api]\ninstances = ['{value}']",
        *(f"[api]\ninstances = ['web-1']\n{name} = {value}" for name in ("secrets", "from", "environment", "more")),
        *(f"[api]\ninstances = ['web-1']\n{name} = ['{value}']" for name in ("secrets", "from", "environment", "more")),
    ]
    planted.files |= {
        "roster": b"[api]\ninstances = ['web-1']\n",
        "events": b"".join(json.dumps(each).encode() + b"\n" for each in documents) + f"secret_event{value}".encode(),
        "token": value.encode(),
        "two-tokens": f"{value}\n{value}".encode(),
        **{f"roster-{number}": each.encode() for number, each in enumerate(rosters)},
    }
    events, prometheus = (*FLEET, "--events", "events"), (*FLEET, "--prometheus", "http://127.0.0.1:9")
    commands = [[*events, "--require", "moved"], [*events, "--format", "json"]]
    commands += [[*events, "--roster", f"roster-{number}"] for number in range(len(rosters))]
    commands += [[*prometheus, "--token-file", each] for each in ("token", "two-tokens")]
    commands += [
        [*words, option, shape.format(value)]
        for words, options in (
            (FLEET, ("--events", "--prometheus")),
            (events, ("--roster", "--secret", "--environment", "--max-age", "--require")),
            (prometheus, ("--select", "--token-file", "--ca-file")),
        )
        for option in options
        for shape in ("{}", 'x="{}"', "http://x/{}")
    ]
    return arguments(planted, commands)


def in_files(planted: Planted, below: str = "seen") -> Planted:
    """Plant each key in every form that a scan finds, and in names that have it or a part of it."""
    for at, key in enumerate(planted.secret):
        half, line = f"{below}/{at}-half-{key[5:25]}", f"first\nkey = {key}\n".encode()
        planted.files |= {
            f"{below}/{at}-raw": line,
            f"{below}/{at}-base64": base64.b64encode(b"user:" + key.encode()),
            f"{below}/{at}-hex": key.encode().hex().encode(),
            f"{below}/{at}-wide": line.decode().encode("utf-16"),
            f"{below}/{at}-key-{key}/{at}-key-{key}.txt": line,
            f"{half}/{at}-part": line,
            f"{below}/{at}-part-{key[7:17]}": line,
            f"{below}/{at}-reversed-{key[::-1]}": line,
            f"{below}/{at}-upper-{key.upper()}": line,
            f"{below}/{at}-split/{key[:20]}/{key[20:]}/{at}-split": line,
            f"{below}/{at}-locked-{key}": line,
        }
        planted.modes |= {f"{below}/{at}-locked-{key}": 0, half: 0o755}
        planted.links |= {f"{below}/{at}-link-{key}": f"/nothing/{key}", f"{below}/{at}-link": f"/nothing/{key}"}
        planted.pipes += (f"{below}/{at}-pipe-{key}",)
    return planted


def assigned(planted: Planted, path: str) -> Planted:
    """Plant a file that assigns other, unknown keys to declared variables."""
    values = good_keys()
    planted.secret += values.values()
    lines = [f"export {name}={value}" for name, value in values.items()]
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
    planted.files[path] = "\n".join([*lines, json.dumps(encoded), f"# {'.'.join(values.values())}"]).encode()
    return planted


def of_scan(*options: str, keys: Callable[[], Planted] = good) -> Callable[[], Planted]:
    """Plant keys in files, and write scans that find them in each output format."""

    def plant() -> Planted:
        planted = assigned(in_files(keys()), "seen/env")
        arguments(planted, [[*scan, *options, "seen"] for scan in SCANS])
        planted.modes = dict.fromkeys(planted.files, 0o644) | planted.modes
        return planted

    return plant


def unsound() -> Planted:
    """Plant a value in quotes: it is not accepted as a key, and would be without the quotes."""
    planted = FORMATS["quotes"]()
    del planted.secret[0]  # instead of that variable's key
    return planted


def below_a_key() -> Planted:
    """Write scans of a repository, with a config directory and a log, all at paths that have a key."""
    planted = good()
    top, half = (f"d-{key}" for key in (planted.secret[0], planted.secret[1][:20]))
    planted = assigned(planted, f"{top}/{half}/env")
    planted.files[f"{top}/config/secret.key"] = planted.secret[0].encode()
    planted.files[f"{top}/{half}/log"] = f"{planted.secret[0]}\n".encode()
    planted.repository = top
    places = ["--config-dir", f"{top}/config", "--operations-log", f"{top}/{half}/log"]
    paths = [[top], [f"{top}/{half}"], [f"./{top}/{half}/../{half}/env"], ["--git-history", top], ["--staged", top]]
    return arguments(planted, [[*scan, *places, *path] for scan in SCANS for path in paths])


def by_fingerprint() -> Planted:
    """Plant keys in files that are known by the fingerprints in the log and on the revocation list alone."""
    planted, recorded, listed = good(), *(text(43) for _ in range(2))
    planted.secret = [recorded, listed]
    planted.files[REVOKED_FILE] = fingerprint(SealedStr(listed)).encode()
    for at, key in enumerate(planted.secret):
        line = f"key = {key}\n".encode()
        planted.files |= {
            f"seen/{at}-raw": line,
            f"seen/{at}-base64": base64.b64encode(key.encode()),
            f"seen/{at}-wide": line.decode().encode("utf-16"),
            f"seen/{at}-key-{key}/{at}-key-{key}.txt": line,
            f"seen/{at}-base64-{base64.urlsafe_b64encode(key.encode()).decode()}": line,
        }
        planted.pipes += (f"seen/{at}-pipe-{key}",)
        planted.links |= {f"seen/{at}-link": key}
    record = ("revoke", "--fingerprint", fingerprint(SealedStr(recorded)), "--reason", "leaked", "--yes", "--unknown")
    return arguments(planted, [record, *([*scan, "--fingerprints", "seen"] for scan in SCANS)])


def commit(branch: str, at: int, message: str, *changes: str) -> str:
    """Return a commit for `git fast-import`."""
    who = f"committer {message[-60:]} <{message[-60:]}@ours.invalid> {1700000000 + at} +0000"
    return "\n".join([f"commit refs/heads/{branch}", who, f"data {len(message)}", message, *changes, ""])


def kept(path: str, content: str) -> str:
    """Return a change for `git fast-import` that adds a file."""
    return f"M 100644 inline {path}\ndata {len(content)}\n{content}"


COMPRESSED = "a" * 99
"""With this name, zlib compresses a directory's object without a readable part, whatever else the object has."""


def in_history() -> Planted:
    """Plant keys in all that git keeps, and write scans of it. No name in the index has a key."""
    planted = assigned(good(), "seen/env")
    live, fresh = planted.secret[:2], planted.secret[2]
    planted.repository = "seen"
    for at, key in enumerate(live):
        changes = [
            kept(f"blob-{at}", f"key = {key}\n"),
            kept(f"name-{at}/n-{key}", f"the name {at}\n"),
            kept(f"part-{at}/n-{key[5:20]}", f"{key} {at}\n"),
            kept(f"directory-{at}/{COMPRESSED}", ""),
            kept(f"directory-{at}/d-{key}/config/n-{key}.key", f"{key}\n"),
            kept(f"directory-{at}/d-{key}/config/{COMPRESSED}", ""),
            kept(f"env-{at}", f"{V1}: {fresh}{at}\n"),
            kept(f"config/{at}.key", f"{key}\n"),
        ]
        gone = [f"D {name}-{at}" for name in ("name", "part", "directory")]
        planted.history += commit("main", 2 * at, f"A message with {key}", *changes)
        planted.history += commit("main", 2 * at + 1, "Take it away", *gone)
        planted.history += commit(f"b-{key}", 9, f"A branch with {key[:20]}", kept(f"branch-{at}", key))
        tagger, message = f"tagger {key} <{key}@ours.invalid> 1700000000 +0000", f"A tag with {key}"
        planted.history += f"tag t-{key}\nfrom refs/heads/main\n{tagger}\ndata {len(message)}\n{message}\n"
    return arguments(planted, [[*scan, "--git-history", "seen"] for scan in SCANS])


def staged() -> Planted:
    """Stage keys, and write scans of the staged content and of the tracked files."""
    planted = assigned(good(), "seen/env")
    live = planted.secret[:2]
    for at, key in enumerate(live):
        planted.files |= {
            f"seen/{at}-raw": f"key = {key}\n".encode(),
            f"seen/{at}-key-{key}/{at}-key-{key}.txt": f"key = {key}\n".encode(),
            f"seen/{at}-part-{key[5:20]}": f"key = {key}\n".encode(),
            f"seen/{at}/config/n-{key}.key": f"{key}\n".encode(),
        }
        planted.links[f"seen/{at}-link-{key}"] = key
    planted.repository = "seen"
    scopes = (["--staged", "seen"], ["seen/env", "seen/0", "seen/1"])
    return arguments(planted, [[*scan, *scope] for scan in SCANS for scope in scopes])


def with_a_git(script: str) -> Callable[[], Planted]:
    """Plant a program named git that prints all that it is given, and write scans that start it."""

    def plant() -> Planted:
        planted = assigned(good(), "seen/env")
        planted.files["bin/git"] = f"#!/bin/sh\n{script}\n".encode()
        planted.modes["bin/git"] = 0o700
        planted.files["seen/.git/HEAD"] = planted.secret[0].encode()
        planted.environ["PATH"] = f"bin:{os.defpath}"
        scans = [[*scan, *scope, "seen"] for scan in SCANS for scope in ((), ("--git-history",), ("--staged",))]
        return arguments(planted, scans)

    return plant


PASTED: tuple[tuple[str, ...], ...] = (
    ("scan", "{}"),
    ("scan", "seen", "./nothing/{}/nothing"),
    ("scan", "--git-history", "seen/{}"),
    ("scan", "--staged", "seen/{}"),
    ("scan", "--staged", "--git-history", "seen/{}"),
    ("scan", "seen/{}", "seen/{}.txt"),
    *(
        ("scan", option, shape, "seen")
        for option in ("--model", "--config-dir", "--operations-log", "--format", "--keys-from")
        for shape in ("{}", "seen/{}:{}")
    ),
    ("scan", "--model", "seen.{}:Ours"),
    ("scan", "--fingerprints", "--keys-from", "{}", "seen"),
    ("scan", "--{}"),
    ("scan", "--fingerprints={}", "seen"),
    *(("scan", "--keys-from", f"given-{shape}", "seen") for shape in ("quoted", "wide", "large", "other")),
    ("scan", "--keys-from", "given", "seen/{}", "seen"),
)
"""Scans with a pasted key in each argument, and in each file that an argument names."""


def pasted() -> Planted:
    """Write scans with a key among their arguments, or with an invalid file of keys."""
    planted, value = with_text()
    planted.files |= {
        f"seen/{value}/n": f"{value}\n".encode(),
        f"seen/{value}.txt": f"{value}\n".encode(),
        "seen/raw": f"{value}\n".encode(),
        "given": f"# keys\n{value}\n".encode(),
        "given-quoted": f'"{value}"\n'.encode(),
        "given-wide": value.encode("utf-16"),
        "given-large": f"{value}\n".encode() * 2000,
        "given-other": f"{value}\n{value}\xff".encode("latin-1"),
    }
    return arguments(planted, [[word.format(value, value) for word in command] for command in PASTED])


FROM: tuple[tuple[str, ...], ...] = (
    ("check",),
    ("check", "--format", "json"),
    ("status",),
    ("status", "--format", "json"),
    ("exec", "--format", "json", "--", "/nothing"),
)
"""The commands that read secret managers. The last one delivers the keys to a command that does not exist."""


def read_from(planted: Planted, *sources: str) -> Planted:
    """Write commands that read the keys from secret managers."""
    options = ["--wait", "0", *(word for source in sources for word in ("--from", source))]
    return arguments(planted, [[each[0], *options, *each[1:]] for each in FROM])


Delivered = dict[str, object]
DELIVERED: dict[str, Callable[[Delivered, str], Delivered]] = {
    "good": lambda keys, value: keys | {"OTHER": value, f"N-{value}": "x", value: value},
    "slots": lambda keys, value: keys | {NEXT: f"{value}\n", PREVIOUS: value, UNTIL: value, EXPIRES2: value},
    "placeholder": lambda keys, value: keys | {V1: f"<{value}>"},
    "malformed": lambda keys, value: keys | {V1: f'"{value}\x1b[31m\r\u202e', REVOKED: value},
    "misspelled": lambda _, value: {f"{V1}S": value, f"{V2}_EXP_{value}": value, f"ROBODJ_SECRET_EXPIRES_{value}": "x"},
}
"""What a secret manager has, made of good keys and other secret text."""
AS_JSON: dict[str, Callable[[Delivered, str], Delivered | str]] = {
    **DELIVERED,
    "numbers": lambda keys, value: keys | {V1: {value: [value]}, V2: 7},
    "cut": lambda keys, value: json.dumps({"OTHER": value} | keys)[:-20],
    "twice": lambda _, value: f'{{"{V1}": "{value}", "{V1}": "{value}"}}',
    "list": lambda keys, value: json.dumps([value, keys]),
    "bare": lambda _, value: value,
    "undecodable": lambda _, value: f'{{"{V1}": "{value}\udcff',
}


def given(make: Callable[[Delivered, str], Delivered | str]) -> tuple[Planted, Delivered | str]:
    """Make good keys, and what a secret manager has. Nothing is in the environment."""
    keys, value = good_keys(), text(43)
    return Planted({}, [*keys.values(), value]), make(dict(keys), value)


def as_json(has: Delivered | str) -> bytes:
    """Return one JSON object, or the text that is there in its place."""
    return (has if isinstance(has, str) else json.dumps(has)).encode("utf-8", "surrogateescape")


def from_json(make: Callable[[Delivered, str], Delivered | str]) -> Planted:
    """Plant what a client prints, and write commands that read it on stdin."""
    planted, has = given(make)
    planted.files["input"] = as_json(has)
    return read_from(planted, "json:-")


def from_directory(
    make: Callable[[Delivered, str], Delivered] = DELIVERED["good"], name: str = "given", **more: str
) -> Planted:
    """Plant a volume of Kubernetes, whose files have what a secret manager has. `{}` in its name is a key."""
    planted, has = given(make)
    assert isinstance(has, dict)
    directory = name.format(planted.secret[-1])
    planted.environ |= more
    # An atomic volume is read without waiting for further files.
    planted.files = {f"{directory}/..1/{file}": str(content).encode() for file, content in has.items()}
    planted.links[f"{directory}/..data"] = "..1"
    return read_from(planted, f"directory:{directory}")


def of_drivers() -> Planted:
    """Plant the URL of a database that nobody serves. Its password is percent-encoded."""
    planted, password = good(), f"@ s+/{text(32)}"
    planted.environ["DATABASE_URL"] = f"postgresql://rw:{quote(password, safe='')}@127.0.0.1:1/shop"
    planted.secret.append(password.rpartition("/")[2])
    return planted


def live(*makes: Callable[[Delivered, str], Delivered], name: str = "live", **more: str) -> Planted:
    """Plant the versions of a volume that a process reads again, each made of the same good keys.

    The first one is good keys. The environment has older ones. `{}` in the name of the volume is a key.
    """
    planted, (keys, value) = good(**more), (good_keys(), text(43))
    planted.secret += [*keys.values(), value]
    directory = name.format(value)
    for number, make in enumerate((lambda keys, _: keys, *makes)):
        has = make(dict(keys), value)
        planted.files |= {
            f"{directory}/..{number}/{file}": str(content).encode("utf-8", "surrogateescape")
            for file, content in has.items()
        }
    planted.links[f"{directory}/..data"] = "..0"
    return arguments(planted, directory)


def switched(keys: Delivered, value: str) -> Delivered:
    """Return keys with further slots."""
    return keys | {NEXT: value, PREVIOUS: keys[V1][::-1], UNTIL: DAYS[5]}  # type: ignore[index]


def foreign(keys: Delivered, value: str) -> Delivered:
    """Return keys of another service."""
    return keys | {V1: value}


BAD_FILES: tuple[Callable[[str], str], ...] = (
    lambda value: f"{value}\udcff",
    lambda value: f"{value}\0",
    lambda value: f"{value}\n" * 2000,
    lambda value: f"#{value}\n{value}\n{value}",
)
"""What a file may have that no source delivers."""


def in_a_file(shape: Callable[[str], str], keys: Delivered, value: str) -> Delivered:
    """Return keys of which one has another shape."""
    return keys | {V1: shape(value)}


def emergency(keys: Delivered, _: str) -> Delivered:
    """Return keys that are revoked."""
    return keys | {REVOKED: ",".join(fingerprint(SealedStr(str(key))) for key in keys.values())}


def drifted() -> Planted:
    """Plant an operations log with other keys than those that a directory delivers."""
    planted = from_directory()
    record = rotated(NOW - timedelta(days=30), fingerprint(SealedStr(text(43))))
    planted.files["config/logs/secret_operations.jsonl"] = replace(record, sequence=1).line() + b"\n"
    return planted


def from_bad_files() -> Planted:
    """Plant a volume with files that cannot be used: not UTF-8, writable by others, and two different ones."""
    planted = from_directory()
    value = planted.secret[-1]
    for number, bad in enumerate((b"\xff", b"\0", b"\n" * 5000)):
        planted.files |= {f"bad-{number}/..1/secret.key": value.encode() + bad}
    planted.files |= {"bad-3/..1/secret.key": value.encode(), f"bad-3/..1/{V1}": b"other"}
    planted.files |= {"bad-4/..1/secret.key": value.encode()}
    planted.modes["bad-4/..1/secret.key"] = 0o666
    planted.links |= {f"bad-{number}/..data": "..1" for number in range(5)}
    commands = json.loads(planted.files["arguments"])
    words = json.dumps([[word.replace("given", f"bad-{at}") for word in each] for at in range(5) for each in commands])
    return arguments(planted, words)


def in_conflict() -> Planted:
    """Plant a volume, and other keys in the environment."""
    planted = from_directory()
    keys = good_keys() | {f"{name}_NEXT": key for name, key in good_keys().items()}
    planted.environ |= keys
    planted.secret += keys.values()
    return planted


def source_is_a_key() -> Planted:
    """Write commands with a key in each kind of source."""
    planted, value = with_text()
    shapes = [
        *("{}", "{}:x", "vault:{}", "vault:{}/x", "vault:secret/{}", "aws:{}", "aws:arn:aws:x:secret:{}-A1b2C3"),
        *("directory:{}", "directory:{}/x", "json:{}"),
    ]
    sources = [shape.format(value) for shape in shapes]
    commands = [[each[0], "--from", source, "--wait", "0", *each[1:]] for source in sources for each in FROM[2:]]
    return arguments(planted, [*commands, ["check", "--from", "json:-", "--wait", value]])


class _Server(ThreadingHTTPServer):
    """Answers as Secrets Manager, and as the KV engine of Vault."""

    status = 200
    answer = b""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@cache
def _server() -> _Server:
    made = _Server(("127.0.0.1", 0), _Handler)
    Thread(target=made.serve_forever, daemon=True).start()
    return made


def answered(
    kind: str, shape: Callable[[bytes], bytes] = bytes, status: int = 200, has: Callable[..., Delivered] | None = None
) -> Planted:
    """Let the server answer with what a secret manager has, in some form, and plant the variables of a client."""
    planted, fields = given(has or DELIVERED["good"])
    login = text(43)
    planted.secret.append(login)
    address = f"http://127.0.0.1:{_server().server_port}"
    if kind == "aws":
        planted.environ |= {"AWS_ENDPOINT_URL": address, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": login}
        planted.environ |= {"AWS_SECRET_ACCESS_KEY": login, "AWS_SESSION_TOKEN": login}
        body: object = {"ARN": "arn", "SecretString": json.dumps(fields)}
        if status != HTTPStatus.OK:
            body = {"__type": planted.secret[0], "message": planted.secret[1]}
    else:
        planted.environ |= {"VAULT_ADDR": address, "VAULT_TOKEN": login}
        body = {"data": {"data": fields, "metadata": {"version": 1}}}
        if status != HTTPStatus.OK:
            body = {"errors": planted.secret}
    _server().status, _server().answer = status, shape(json.dumps(body).encode())
    return read_from(planted, {"aws": "aws:robodj", "vault": "vault:secret/robodj"}[kind])


ANSWERED: dict[str, Callable[[str], Planted]] = {
    "good": answered,
    "malformed": lambda kind: answered(kind, has=DELIVERED["malformed"]),
    "numbers": lambda kind: answered(kind, has=lambda keys, value: keys | {V1: [value]}),
    "cut": lambda kind: answered(kind, lambda body: body[:-9]),
    "denied": lambda kind: answered(kind, status=403),
    "unavailable": lambda kind: answered(kind, status=503),
}


SCENARIOS: dict[str, Scenario] = {
    "success": Scenario(good),
    "success-from-a-file": Scenario(in_key_file),
    "success-of-check": Scenario(good, "call_check"),
    "success-of-the-model": Scenario(good, "make_model"),
    "success-with-debugging": Scenario(good, "guard_with_debugging"),
    "missing": Scenario(lambda: in_variable(lambda _: "")),
    "placeholder": Scenario(lambda: in_variable(lambda value: f"{value}<{value}>")),
    "placeholder-in-base64": Scenario(
        lambda: in_variable(lambda value: base64.b64encode(f"replace_with_{value}".encode()).decode())
    ),
    "placeholder-by-a-word": Scenario(lambda: in_variable(lambda value: f"changeme{value}")),
    **{f"format-{name}": Scenario(plant) for name, plant in FORMATS.items()},
    "format-of-the-model": Scenario(FORMATS["newline"], "make_model"),
    "format-of-check": Scenario(FORMATS["escapes"], "call_check"),
    "format-with-debugging": Scenario(FORMATS["quotes"], "guard_with_debugging"),
    "format-while-handling": Scenario(FORMATS["short"], "guard_while_handling"),
    "weak-block": Scenario(lambda: in_variable(lambda value: value[:9] * 6)),
    "weak-case": Scenario(lambda: in_variable(lambda value: value.lower() + "-_-_")),
    "slots": Scenario(rotated_keys, "use_secret"),
    "metrics": Scenario(rotated_keys, "scrape"),
    "metrics-of-status": Scenario(
        of_the_gate("--format", "openmetrics", keys=rotated_keys, command="status"), "run_gate"
    ),
    "slots-after-the-deadline": Scenario(partial(rotated_keys, ahead=-30), "use_secret"),
    "slots-of-check": Scenario(rotated_keys, "call_check"),
    "slots-next-with-escapes": Scenario(partial(rotated_keys, "{}\n\x1b[31m".format)),
    "slots-previous-truncated": Scenario(partial(rotated_keys, "{}".format, 30, PREVIOUS), "make_model"),
    "slots-previous-in-quotes": Scenario(partial(rotated_keys, '"{}"'.format, variable=PREVIOUS), "use_secret"),
    "previous-until-is-a-key": Scenario(lambda: in_variable(str, 43, UNTIL, **{PREVIOUS: good_keys()[V1]})),
    "previous-until-before-a-key": Scenario(
        lambda: in_variable("2027-01-01T00:00:00{}".format, 43, UNTIL, **{PREVIOUS: good_keys()[V1]}), "make_model"
    ),
    "near-miss-of-a-deadline": Scenario(lambda: in_name(lambda value: f"{PREVIOUS}_{value}")),
    "revoked-from-a-key": Scenario(
        lambda: in_variable(lambda value: f"sgfp1:{'0' * 32}@{value}", variable=REVOKED), "make_model"
    ),
    "shared": Scenario(equal),
    "shared-in-part": Scenario(lambda: equal(64), "make_model"),
    "expired": Scenario(lambda: good(**{EXPIRES: DAYS[-30]})),
    "expiry-marker-is-a-key": Scenario(lambda: in_variable(str, variable=EXPIRES)),
    "expiry-marker-before-a-key": Scenario(
        lambda: in_variable(lambda value: f"2027-01-01T00:00:00{value}", variable=EXPIRES)
    ),
    "expiry-marker-of-the-model": Scenario(lambda: in_variable(str, variable=EXPIRES), "make_model"),
    "clock": Scenario(lambda: good(**{EXPIRES: DAYS[5]}), "check_long_ago"),
    **{f"file-{name}": Scenario(plant) for name, plant in FILES.items()},
    "file-that-others-may-not-read": Scenario(lambda: with_modes(directory=0o755, file=0o600), "guard_as_nobody"),
    "file-while-interrupted": Scenario(in_key_file, "guard_interrupted_by_a_signal"),
    "file-present": Scenario(lambda: stale(ROBODJ_PROTECTED_ENV="true")),
    "revoked": Scenario(lambda: revoked(in_file=True)),
    "revoked-by-the-variable": Scenario(lambda: revoked(in_file=False), "make_model"),
    **{f"revoked-list-{name}": Scenario(plant) for name, plant in LISTS.items()},
    "revoked-list-of-the-model": Scenario(LISTS["is-a-key"], "make_model"),
    "revoked-list-of-check": Scenario(LISTS["has-a-key"], "call_check"),
    "revoked-list-below-a-key": Scenario(list_below_a_key, "guard_a_named_directory"),
    "revoked-variable-is-a-key": Scenario(lambda: in_variable(str, variable=REVOKED)),
    "revoked-variable-has-a-key": Scenario(
        lambda: in_variable(lambda value: f"sgfp1:{value},{value}\n#{value}", variable=REVOKED), "make_model"
    ),
    "switch-is-a-key": Scenario(lambda: in_variable(str, variable="ROBODJ_PROTECTED_ENV")),
    "switch-of-the-model-is-a-key": Scenario(
        lambda: in_variable(str, variable="ROBODJ_ALLOW_FILE_SECRET_FALLBACK"), "make_model"
    ),
    "directory-is-a-key": Scenario(lambda: in_variable(str, variable="ROBODJ_CONFIG_DIR")),
    "directory-argument-is-a-key": Scenario(lambda: path_is_a_key(exists=False), "guard_a_named_directory"),
    "directory-argument-with-nul": Scenario(
        lambda: arguments(planted := good(), f"{planted.secret[0]}\0"), "check_a_named_directory"
    ),
    "directory-of-the-model-is-a-key": Scenario(lambda: path_is_a_key(exists=True), "guard_a_model_with_a_set_up"),
    "list-of-the-model-is-missing": Scenario(lambda: path_is_a_key(exists=False), "guard_a_model_with_a_set_up"),
    "directory-named-by-a-key": Scenario(lambda: path_is_a_key(exists=True), "guard_a_named_directory"),
    **{
        f"event-setting-is-a-key-{end}": Scenario(plant, "send_a_heartbeat")
        for name in EVENT_SETTINGS
        for end, plant in {
            name: partial(in_variable, str, variable=name),
            f"{name}-below": partial(in_variable, "/run/{}/x".format, variable=name),
            f"{name}-with-a-bad-key": partial(in_variable, str, 43, name, **{V1: "changeme"}),
        }.items()
    },
    "events": Scenario(partial(with_events, rotated_keys), "send_a_heartbeat"),
    "events-of-a-refusal": Scenario(partial(with_events, FORMATS["escapes"]), "send_a_heartbeat"),
    "events-that-cannot-be-written": Scenario(lambda: good(**{SECRET_EVENTS: "/nowhere/events"}), "send_a_heartbeat"),
    "near-miss-of-a-key": Scenario(lambda: in_variable(str, variable=f"{V1}S")),
    "near-miss-of-a-file-variable": Scenario(lambda: in_variable(str, variable=f"{V1}_FILE")),
    "near-miss-of-a-marker": Scenario(lambda: in_name(lambda value: f"{V1}_EXP{value}")),
    "near-miss-of-expiry": Scenario(lambda: in_name(lambda value: f"ROBODJ_SECRET_EXPIRES_{value}")),
    "near-miss-of-a-switch": Scenario(lambda: in_name(lambda value: f"ROBODJ_PROTECTED_{value}")),
    "near-miss-with-escapes": Scenario(lambda: in_name(lambda value: f"{V1}_EXP{value}\n\x1b[31m")),
    "near-miss-of-a-file": Scenario(lambda: in_key_file(path="config/secret.key.txt")),
    "name-is-a-key": Scenario(lambda: in_name(str)),
    "names-and-values-swapped": Scenario(swapped),
    "undecodable": Scenario(undecodable),
    "expiring": Scenario(lambda: good(**{EXPIRES: DAYS[5]})),
    "cadence": Scenario(lambda: good(**{EXPIRES: DAYS[300]})),
    "file-stale": Scenario(stale),
    "file-permissions": Scenario(lambda: with_modes(file=0o644)),
    "mapping": Scenario(FORMATS["newline"], "check_a_mapping"),
    "mapping-with-bytes": Scenario(good, "check_a_mapping_with_bytes"),
    "mapping-that-raises": Scenario(good, "check_a_mapping_that_raises"),
    "mapping-that-is-interrupted": Scenario(good, "check_interrupted"),
    "wrong-status": Scenario(good, "guard_with_a_wrong_status"),
    "wrong-time": Scenario(good, "check_now_without_zone"),
    "assign": Scenario(good, "assign"),
    "delete": Scenario(good, "delete"),
    "copy-changed": Scenario(good, "copy_changed"),
    "copy-changed-by-its-old-name": Scenario(good, "copy_changed_by_its_old_name"),
    "model-is-a-key": Scenario(good, "guard_a_key"),
    "model-of-check-is-a-key": Scenario(good, "check_a_key"),
    "status-is-a-key": Scenario(good, "guard_with_a_key_as_status"),
    "validate-a-key": Scenario(good, "validate_a_key"),
    "validate-json": Scenario(good, "validate_json"),
    "judgement-that-is-none": Scenario(good, "make_model_of_a_judgement"),
    "construct": Scenario(good, "construct"),
    "values": Scenario(good, "make_model_of_values"),
    **{f"host-{name}": Scenario(host(name), "guard_host") for name in HOSTS},
    "host-of-check": Scenario(host("field-chained"), "check_host"),
    **{f"host-of-the-model-{name}": Scenario(host(name), "make_host_model") for name in HOSTS if "text" in name},
    "host-of-the-model": Scenario(host("field-value-error"), "make_host_model"),
    "host-of-the-model-custom": Scenario(host("field-custom-error"), "make_host_model"),
    "gate": Scenario(of_the_gate(), "run_gate"),
    "gate-json": Scenario(of_the_gate("--format", "json", "--strict", keys=FORMATS["escapes"]), "run_gate"),
    "gate-of-a-model-that-fails": Scenario(model_that_fails, "run_gate"),
    "gate-argument-is-a-key": Scenario(lambda: argument_is_a_key("check"), "run_gate"),
    "gate-command-is-a-key": Scenario(argument_is_a_key, "run_gate"),
    "gate-format-is-a-key": Scenario(lambda: argument_is_a_key("check", "--format"), "run_gate"),
    "gate-option-is-a-key": Scenario(lambda: argument_is_a_key("check", shape="--{}=1".format), "run_gate"),
    "gate-directory-is-a-key": Scenario(lambda: argument_is_a_key("check", shape="--config-dir={}".format), "run_gate"),
    "gate-of-an-old-key": Scenario(superseded, "run_gate"),
    "gate-project-has-a-key": Scenario(project_has_a_key, "run_commands_in_projects"),
    "explain": Scenario(
        lambda: arguments(good(), [["explain"], ["explain", "format", "shared"], ["explain", "--format", "json"]]),
        "run_commands",
    ),
    "init-files-have-a-key": Scenario(files_have_a_key, "run_commands"),
    "explain-argument-is-a-key": Scenario(lambda: argument_is_a_key("explain", "format"), "run_gate"),
    "gate-model-is-a-key": Scenario(lambda: argument_is_a_key("check", "--model", shape="{}:Ours".format), "run_gate"),
    "life": Scenario(of_life(), "run_commands"),
    "life-as-json": Scenario(of_life(good, "--format", "json"), "run_commands"),
    "life-of-bad-keys": Scenario(of_life(FORMATS["escapes"]), "run_commands"),
    "life-on-a-terminal": Scenario(of_life(FORMATS["escapes"]), "run_commands_on_a_terminal"),
    "life-on-a-terminal-of-good-keys": Scenario(of_life(), "run_commands_on_a_terminal"),
    "life-below-a-key": Scenario(lambda: life_in("ROBODJ_CONFIG_DIR"), "run_commands"),
    "life-logged-at-a-key": Scenario(lambda: life_in("ROBODJ_OPERATIONS_LOG"), "run_commands"),
    "revoked-from-a-file": Scenario(revoked_from_a_file, "run_commands"),
    "life-argument-is-a-key": Scenario(key_among_arguments, "run_commands"),
    "fleet-has-a-key": Scenario(fleet_is_a_key, "run_commands"),
    "generate-without-asking": Scenario(of_generate((), ("secret.key",), ("--format", "env"), CI="1"), "run_commands"),
    "ephemeral": Scenario(lambda: good(ROBODJ_SECRETS_EPHEMERAL="1")),
    "ephemeral-is-a-key": Scenario(lambda: in_variable(str, variable="ROBODJ_SECRETS_EPHEMERAL")),
    "exec-refused": Scenario(of_the_gate("--", "true", keys=FORMATS["escapes"], command="exec"), "run_gate"),
    "exec-ephemeral-refused": Scenario(of_the_gate("--ephemeral", "--", "true", command="exec"), "run_gate"),
    "exec-command-is-a-key": Scenario(lambda: argument_is_a_key("exec", "--"), "run_gate"),
    "exec-argument-is-a-key": Scenario(lambda: argument_is_a_key("exec", "--", "/nothing"), "run_gate"),
    "exec-directory-is-a-key": Scenario(
        lambda: argument_is_a_key("exec", shape="--config-dir={}".format, after=("--", "true")), "run_gate"
    ),
    "scan": Scenario(of_scan(), "run_commands_as_nobody"),
    "scan-of-bad-keys": Scenario(of_scan(keys=unsound), "run_commands"),
    "scan-below-a-key": Scenario(below_a_key, "run_commands"),
    "scan-by-fingerprints": Scenario(by_fingerprint, "run_commands"),
    "scan-by-fingerprints-beside-keys": Scenario(of_scan("--fingerprints"), "run_commands"),
    "scan-of-history": Scenario(in_history, "run_commands"),
    "scan-of-staged": Scenario(staged, "run_commands"),
    "scan-with-a-git-that-tells-all": Scenario(with_a_git('env; env >&2; echo "$@" >&2; exit 1'), "run_commands"),
    "scan-with-a-git-that-lies": Scenario(with_a_git("cat seen/env; env"), "run_commands"),
    "scan-argument-is-a-key": Scenario(pasted, "run_commands"),
    "scan-interrupted": Scenario(by_fingerprint, "run_commands_that_fail"),
    "scan-on-a-terminal": Scenario(of_scan(), "run_commands_on_a_terminal"),
    **{
        f"from-json-{name}": Scenario(partial(from_json, make), "run_commands_with_input")
        for name, make in AS_JSON.items()
    },
    **{
        f"from-directory-{name}": Scenario(partial(from_directory, make), "run_commands")
        for name, make in DELIVERED.items()
    },
    "from-directory-of-other-keys": Scenario(drifted, "run_commands"),
    "from-directory-of-bad-files": Scenario(from_bad_files, "run_commands"),
    "from-directory-in-conflict": Scenario(in_conflict, "run_commands"),
    "from-directory-named-by-a-key": Scenario(partial(from_directory, name="given-{}"), "run_commands"),
    "from-directory-on-a-terminal": Scenario(
        partial(from_directory, DELIVERED["malformed"]), "run_commands_on_a_terminal"
    ),
    **{
        f"secrets-directory-{name}": Scenario(partial(from_directory, make), "guard_a_secrets_directory")
        for name, make in DELIVERED.items()
    },
    "secrets-directory-in-conflict": Scenario(in_conflict, "guard_a_secrets_directory"),
    "refresh": Scenario(partial(live, foreign, switched, *DELIVERED.values(), emergency), "refresh_on_each_version"),
    "refresh-of-bad-values": Scenario(
        partial(live, *(partial(in_a_file, shape) for shape in BAD_FILES)), "refresh_on_each_version"
    ),
    "refresh-by-a-thread": Scenario(
        partial(live, switched, DELIVERED["malformed"], **{SECRET_EVENTS: "stdout"}), "refresh_by_a_thread"
    ),
    "refresh-below-a-key": Scenario(partial(live, DELIVERED["malformed"], name="live-{}"), "refresh_on_each_version"),
    "drivers": Scenario(of_drivers, "log_in_by_drivers"),
    "from-source-is-a-key": Scenario(source_is_a_key, "run_commands"),
    **{
        f"from-{kind}-{name}": Scenario(partial(plant, kind), "run_commands")
        for kind, client in {"aws": "boto3", "vault": "hvac"}.items()
        for name, plant in ANSWERED.items()
        if find_spec(client)
    },
}
UNDER_OTHER_NAMES = {"file-unsafe", "file-fallback", "setting", "revocation-list"}
"""Checks without a scenario of the same name."""
SCENARIOS |= {
    kind: Scenario(partial(of_kind, kind))
    for kind in KINDS
    if kind not in UNDER_OTHER_NAMES and not any(f"{name}-".startswith(f"{kind}-") for name in SCENARIOS)
}
