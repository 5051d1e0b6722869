"""What is planted: every way in which key material reaches the library, the wrong ones above all."""

from __future__ import annotations

import json
import os
import secrets
import string
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from actions import HOSTS
from conftest import V1, V2, good_keys, marker

from robodj_secretguard.fingerprint import fingerprint
from robodj_secretguard.sealed import SealedStr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime.now(UTC).replace(microsecond=0)
EXPIRES, EXPIRES2 = f"{V1}_EXPIRES_AT", f"{V2}_EXPIRES_AT"
REVOKED, REVOKED_FILE = "ROBODJ_REVOKED_FINGERPRINTS", "config/revoked.fingerprints"
DAYS = {days: marker(timedelta(days=days), now=NOW) for days in (-30, 5, 300)}


@dataclass
class Planted:
    """What a process is given, and what of it must not show.

    Args:
        environ: its variables.
        secret: the texts that must not show.
        files: what lies in its working directory, by path.
        modes: the modes of some of them.
        links: symbolic links in it.
        pipes: FIFOs in it.
    """

    environ: dict[str, str]
    secret: list[str]
    files: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    pipes: tuple[str, ...] = ()

    def put(self, directory: Path) -> None:
        """Put the files into a process's working directory."""
        (directory / "config").mkdir(parents=True, mode=0o700)
        for path, content in self.files.items():
            (directory / path).parent.mkdir(exist_ok=True)
            (directory / path).write_bytes(content)
            (directory / path).chmod(0o600)
        for path, target in self.links.items():
            (directory / path).symlink_to(target)
        for path in self.pipes:
            os.mkfifo(directory / path)
        for path, mode in self.modes.items():
            (directory / path).chmod(mode)


class Scenario(NamedTuple):
    """What is planted, and what the process then does."""

    plant: Callable[[], Planted]
    action: str = "call_guard"


def text(length: int) -> str:
    """Make secret text of a length, with letters of both cases first."""
    return "aZ" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length - 2))


def good(**more: str) -> Planted:
    """Plant good keys, and more variables, which are no secret."""
    keys = good_keys()
    return Planted(keys | more, list(keys.values()))


def one(shape: Callable[[str], str], length: int = 43, variable: str = V1, **more: str) -> Planted:
    """Plant secret text in some shape as a variable, beside good keys."""
    planted, value = good(**more), text(length)
    planted.environ[variable] = shape(value)
    planted.secret.append(value)
    return planted


def named(shape: Callable[[str], str]) -> Planted:
    """Plant secret text in a variable's name."""
    planted, value = good(), text(43)
    planted.environ[shape(value)] = "x"
    planted.secret.append(value)
    return planted


def filed(
    shape: Callable[[str], str] = str, length: int = 43, path: str = "config/secret.key", encoding: str = "utf-8"
) -> Planted:
    """Plant secret text in some shape in the fallback file, without the variable."""
    keys, value = good_keys(), text(length)
    return Planted({V2: keys[V2]}, [keys[V2], value], {path: shape(value).encode(encoding, "surrogateescape")})


def wide(**modes: int) -> Planted:
    """Plant a fallback file with modes of its own, for it or for its directory."""
    planted = filed()
    planted.modes = {{"file": "config/secret.key", "directory": "config"}[what]: mode for what, mode in modes.items()}
    return planted


def linked(target: str) -> Planted:
    """Plant a link as the fallback file."""
    keys = good_keys()
    return Planted({V2: keys[V2]}, list(keys.values()), links={"config/secret.key": target})


def piped() -> Planted:
    """Plant a FIFO as the fallback file, to which nobody writes."""
    keys = good_keys()
    return Planted({V2: keys[V2]}, list(keys.values()), pipes=("config/secret.key",))


def stale(**more: str) -> Planted:
    """Plant a fallback file that is not needed."""
    planted, value = good(**more), text(43)
    planted.files["config/secret.key"] = value.encode()
    planted.secret.append(value)
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


def listing(shape: Callable[[str], str] = str, name: str = REVOKED_FILE, mode: int = 0o600) -> Planted:
    """Plant secret text in some shape in the revocation list, beside good keys."""
    planted, value = good(), text(43)
    planted.files[name] = shape(value).encode("utf-8", "surrogateescape")
    planted.modes[name] = mode
    planted.secret.append(value)
    return planted


def listing_below_a_key() -> Planted:
    """Leave a key as a path, to a directory with a revocation list that cannot be relied on."""
    planted = listing(mode=0o666)
    directory = planted.secret[-1]
    planted.files = {f"{directory}/revoked.fingerprints": planted.files.pop(REVOKED_FILE)}
    planted.modes = {f"{directory}/revoked.fingerprints": planted.modes.pop(REVOKED_FILE)}
    return arguments(planted, directory)


def equal(cut: int = 128) -> Planted:
    """Plant one key twice, or a part of it."""
    key = secrets.token_hex(64)
    return Planted({V1: key[:cut], V2: key}, [key])


def undecodable() -> Planted:
    """Plant bytes that are no text in the environment."""
    planted = one(lambda value: f"{value}\udcff\udc80")
    planted.environ[EXPIRES2] = "\udcfe"
    return planted


def swapped() -> Planted:
    """Plant names as values and values as names."""
    keys = good_keys()
    return Planted({key: name for name, key in keys.items()} | {V1: V2}, list(keys.values()))


def arguments(planted: Planted, given: object) -> Planted:
    """Leave arguments for the action."""
    planted.files["arguments"] = (given if isinstance(given, str) else json.dumps(given)).encode()
    return planted


def of_the_gate(*options: str, keys: Callable[[], Planted] = good, command: str = "check") -> Callable[[], Planted]:
    """Leave arguments for the command line."""
    return lambda: arguments(keys(), [command, *options])


def argument_is_a_key(*before: str, shape: Callable[[str], str] = str, after: tuple[str, ...] = ()) -> Planted:
    """Leave secret text among the arguments for the command line."""
    planted, value = good(), text(43)
    planted.secret.append(value)
    return arguments(planted, [*before, shape(value), *after])


def path_is_a_key(*, exists: bool) -> Planted:
    """Leave a key as a path, to nothing or to a directory with a file that may not be used."""
    planted = filed(path="elsewhere/secret.key")
    directory = planted.secret[1]
    if exists:
        planted.files[f"{directory}/secret.key"] = planted.files.pop("elsewhere/secret.key")
        planted.modes[f"{directory}/secret.key"] = 0o666
    return arguments(planted, directory)


def variable_path_is_a_key() -> Planted:
    """Have the config directory's variable hold a key."""
    return one(str, variable="ROBODJ_CONFIG_DIR")


def model_that_fails() -> Planted:
    """Leave a model's module that fails with a key in its text."""
    planted = arguments(good(), ["check", "--model", "ours:Ours"])
    planted.files["ours.py"] = f"import os\nkey = os.environ[{V1!r}]\nraise RuntimeError(key)\n".encode()
    return planted


def host(name: str) -> Callable[[], Planted]:
    """Name the host's model that the action is to take."""
    return lambda: arguments(good(), name)


FORMATS: dict[str, Callable[[], Planted]] = {
    "short": lambda: one(str, 15),
    "too-short": lambda: one(str, 30),
    "newline": lambda: one(lambda value: f"{value}\n"),
    "blanks": lambda: one(lambda value: f" {value}\t"),
    "quotes": lambda: one(lambda value: f'"{value}"'),
    "padding": lambda: one(lambda value: f"{value}=="),
    "escapes": lambda: one(lambda value: f"{value}\x1b[31m\u202e\r\n\x07ALERT: forged: {value}"),
    "two-lines": lambda: filed(lambda value: f"{value}\n{value}\n"),
    "long": lambda: one(lambda value: f"{value * 1500}!"),
}
FILES: dict[str, Callable[[], Planted]] = {
    "writable": lambda: wide(file=0o666),
    "directory-writable": lambda: wide(directory=0o777),
    "large": lambda: filed(lambda value: value * 120),
    "utf-16": lambda: filed(encoding="utf-16"),
    "latin-1": lambda: filed(lambda value: f"{value}\udcff"),
    "nul": lambda: filed(lambda value: f"{value}\0{value}"),
    "comments": lambda: filed(lambda value: f"# {value}\n"),
    "byte-order-mark": lambda: filed(lambda value: f"\ufeff{value}\r\n"),
    "fifo": piped,
    "device": lambda: linked("/dev/zero"),
    "is-a-directory": lambda: linked("."),
    "link-loop": lambda: linked("secret.key"),
    "dangling": lambda: linked("nothing"),
}
LISTS: dict[str, Callable[[], Planted]] = {
    "is-a-key": listing,
    "has-a-key": lambda: listing(lambda value: f"# keys\n{value} # leaked\nsgfp1:{value}\nsecret.key={value}\r\n"),
    "has-a-key-in-a-comment": lambda: listing(lambda value: f"# {value}\n"),
    "large": lambda: listing(lambda value: f"{value}\n" * 25000),
    "not-utf-8": lambda: listing(lambda value: f"{value}\udcff"),
    "escapes": lambda: listing(lambda value: f"\x1b[31m\u202e{value}\rALERT: forged: {value}\0"),
    "misnamed": lambda: listing(name=f"{REVOKED_FILE}.txt"),
}
RECORD = ("rotate", "record", "--environment", "prod", "--operator", "Jane")
INCIDENT = ("incident", "report", "--since", "2026-11-01")
LIFE: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("rotate", "plan", "secret.key"),
    (*RECORD, "--attest", "startup"),
    (*RECORD, "--attest", "functions"),
    RECORD,
    ("log", "show"),
    ("log", "verify"),
    ("status", "--strict"),
    ("revoke", "secret.key", "--reason", "leaked"),
    ("revoke", "secret.key", "--reason", "leaked", "--yes"),
    RECORD,
    INCIDENT,
)
"""The commands of a secret's life, one after the other."""


def of_life(keys: Callable[[], Planted] = good, *options: str, **more: str) -> Callable[[], Planted]:
    """Leave the commands of a secret's life."""

    def plant() -> Planted:
        planted = keys()
        planted.environ |= more
        return arguments(planted, [[*command, *options] for command in LIFE])

    return plant


def with_forms(planted: Planted) -> Planted:
    """Have key files that `generate --write` finds: a key, and a template with another in a comment."""
    values = [text(43), text(43)]
    planted.secret += values
    planted.files |= {
        "config/secret.key": values[0].encode(),
        "config/secret_v2.key": f"# {values[1]}\nchangeme\n".encode(),
    }
    return planted


def of_generate(*commands: tuple[str, ...], **more: str) -> Callable[[], Planted]:
    """Leave commands that generate keys where there are some, and show none."""
    return lambda: arguments(with_forms(good(**more)), [["generate", *command] for command in commands])


SAID: tuple[tuple[str, ...], ...] = (
    ("generate", "{}"),
    ("generate", "--write", "--config-dir", "{}"),
    *(("log", "show", option, "{}") for option in ("--secret", "--event", "--since", "--until", "--operations-log")),
    ("log", "verify", "--expect", "{}"),
    ("rotate", "plan", "{}"),
    ("rotate", "record", "--environment", "{}", "--operator", "Jane"),
    ("rotate", "record", "--environment", "prod", "--operator", "{}"),
    (*RECORD, "{}"),
    *((*RECORD, option, "{}") for option in ("--ticket", "--attest", "--known", "--service-log", "--operations-log")),
    ("revoke", "{}", "--reason", "leaked"),
    ("revoke", "--reason", "leaked", "--fingerprint", "{}"),
    ("revoke", "secret.key", "--yes", "--reason", "see https://ours.invalid/{}/x"),
    ("incident", "report", "--since", "{}"),
    (*INCIDENT, "--config-dir", "{}"),
    ("{}", "{}"),
)
"""Everywhere among the arguments of commands where a key may be pasted."""


def said() -> Planted:
    """Leave commands with a key among their arguments, after one that has begun a log."""
    planted, value = good(), text(43)
    planted.secret.append(value)
    return arguments(planted, [RECORD, *([word.format(value) for word in command] for command in SAID)])


def life_in(variable: str) -> Planted:
    """Have a variable that names a path hold a key, and leave the commands of a secret's life."""
    planted = one(str, variable=variable)
    planted.files[f"{planted.secret[-1]}/nothing" if variable == "ROBODJ_CONFIG_DIR" else "nothing"] = b""
    return of_life(lambda: planted)()


SCENARIOS: dict[str, Scenario] = {
    "success": Scenario(good),
    "success-from-a-file": Scenario(filed),
    "success-of-check": Scenario(good, "call_check"),
    "success-of-the-model": Scenario(good, "make_model"),
    "success-with-debugging": Scenario(good, "guard_with_debugging"),
    "missing": Scenario(lambda: one(lambda _: "")),
    "placeholder": Scenario(lambda: one(lambda value: f"{value}<{value}>")),
    "placeholder-by-a-word": Scenario(lambda: one(lambda value: f"changeme{value}")),
    **{f"format-{name}": Scenario(plant) for name, plant in FORMATS.items()},
    "format-of-the-model": Scenario(FORMATS["newline"], "make_model"),
    "format-of-check": Scenario(FORMATS["escapes"], "call_check"),
    "format-with-debugging": Scenario(FORMATS["quotes"], "guard_with_debugging"),
    "format-while-handling": Scenario(FORMATS["short"], "guard_while_handling"),
    "weak-block": Scenario(lambda: one(lambda value: value[:9] * 6)),
    "weak-case": Scenario(lambda: one(lambda value: value.lower() + "-_-_")),
    "shared": Scenario(equal),
    "shared-in-part": Scenario(lambda: equal(64), "make_model"),
    "expired": Scenario(lambda: good(**{EXPIRES: DAYS[-30]})),
    "expiry-marker-is-a-key": Scenario(lambda: one(str, variable=EXPIRES)),
    "expiry-marker-before-a-key": Scenario(lambda: one(lambda value: f"2027-01-01T00:00:00{value}", variable=EXPIRES)),
    "expiry-marker-of-the-model": Scenario(lambda: one(str, variable=EXPIRES), "make_model"),
    "clock": Scenario(lambda: good(**{EXPIRES: DAYS[5]}), "check_long_ago"),
    **{f"file-{name}": Scenario(plant) for name, plant in FILES.items()},
    "file-that-others-may-not-read": Scenario(lambda: wide(directory=0o755, file=0o600), "guard_as_nobody"),
    "file-while-interrupted": Scenario(filed, "guard_interrupted_by_a_signal"),
    "file-present": Scenario(lambda: stale(ROBODJ_PROTECTED_ENV="true")),
    "revoked": Scenario(lambda: revoked(in_file=True)),
    "revoked-by-the-variable": Scenario(lambda: revoked(in_file=False), "make_model"),
    **{f"revoked-list-{name}": Scenario(plant) for name, plant in LISTS.items()},
    "revoked-list-of-the-model": Scenario(LISTS["is-a-key"], "make_model"),
    "revoked-list-of-check": Scenario(LISTS["has-a-key"], "call_check"),
    "revoked-list-below-a-key": Scenario(listing_below_a_key, "guard_a_named_directory"),
    "revoked-variable-is-a-key": Scenario(lambda: one(str, variable=REVOKED)),
    "revoked-variable-has-a-key": Scenario(
        lambda: one(lambda value: f"sgfp1:{value},{value}\n#{value}", variable=REVOKED), "make_model"
    ),
    "switch-is-a-key": Scenario(lambda: one(str, variable="ROBODJ_PROTECTED_ENV")),
    "switch-of-the-model-is-a-key": Scenario(
        lambda: one(str, variable="ROBODJ_ALLOW_FILE_SECRET_FALLBACK"), "make_model"
    ),
    "directory-is-a-key": Scenario(variable_path_is_a_key),
    "directory-argument-is-a-key": Scenario(lambda: path_is_a_key(exists=False), "guard_a_named_directory"),
    "directory-argument-with-nul": Scenario(
        lambda: arguments(planted := good(), f"{planted.secret[0]}\0"), "check_a_named_directory"
    ),
    "directory-named-by-a-key": Scenario(lambda: path_is_a_key(exists=True), "guard_a_named_directory"),
    "near-miss-of-a-key": Scenario(lambda: one(str, variable=f"{V1}S")),
    "near-miss-of-a-file-variable": Scenario(lambda: one(str, variable=f"{V1}_FILE")),
    "near-miss-of-a-marker": Scenario(lambda: named(lambda value: f"{V1}_EXP{value}")),
    "near-miss-with-escapes": Scenario(lambda: named(lambda value: f"{V1}_EXP{value}\n\x1b[31m")),
    "near-miss-of-a-file": Scenario(lambda: filed(path="config/secret.key.txt")),
    "name-is-a-key": Scenario(lambda: named(str)),
    "names-and-values-swapped": Scenario(swapped),
    "undecodable": Scenario(undecodable),
    "expiring": Scenario(lambda: good(**{EXPIRES: DAYS[5]})),
    "cadence": Scenario(lambda: good(**{EXPIRES: DAYS[300]})),
    "file-stale": Scenario(stale),
    "file-permissions": Scenario(lambda: wide(file=0o644)),
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
    "gate-model-is-a-key": Scenario(lambda: argument_is_a_key("check", "--model", shape="{}:Ours".format), "run_gate"),
    "life": Scenario(of_life(), "run_commands"),
    "life-as-json": Scenario(of_life(good, "--format", "json"), "run_commands"),
    "life-of-bad-keys": Scenario(of_life(FORMATS["escapes"]), "run_commands"),
    "life-below-a-key": Scenario(lambda: life_in("ROBODJ_CONFIG_DIR"), "run_commands"),
    "life-logged-at-a-key": Scenario(lambda: life_in("ROBODJ_OPERATIONS_LOG"), "run_commands"),
    "life-argument-is-a-key": Scenario(said, "run_commands"),
    "generate-without-asking": Scenario(of_generate((), ("secret.key",), ("--format", "env"), CI="1"), "run_commands"),
    "generate-over-keys": Scenario(of_generate(("--write",), ("secret_v2.key", "--write")), "run_commands"),
    "generate-over-keys-by-force": Scenario(of_generate(("--write", "--force")), "run_commands"),
    "ephemeral": Scenario(lambda: good(ROBODJ_SECRETS_EPHEMERAL="1")),
    "ephemeral-is-a-key": Scenario(lambda: one(str, variable="ROBODJ_SECRETS_EPHEMERAL")),
    "exec-refused": Scenario(of_the_gate("--", "true", keys=FORMATS["escapes"], command="exec"), "run_gate"),
    "exec-ephemeral-refused": Scenario(of_the_gate("--ephemeral", "--", "true", command="exec"), "run_gate"),
    "exec-command-is-a-key": Scenario(lambda: argument_is_a_key("exec", "--"), "run_gate"),
    "exec-argument-is-a-key": Scenario(lambda: argument_is_a_key("exec", "--", "/nothing"), "run_gate"),
    "exec-directory-is-a-key": Scenario(
        lambda: argument_is_a_key("exec", shape="--config-dir={}".format, after=("--", "true")), "run_gate"
    ),
}
