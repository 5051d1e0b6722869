"""The set-ups of the differential run: each one is made from a seed and a number, and its keys too."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any

from robodj_secretguard import check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LOG = "config/logs/secret_operations.jsonl"
LIST = "config/revoked.fingerprints"
V1, V2 = "ROBODJ_SECRET_KEY", "ROBODJ_SECRET_V2_KEY"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHECKS = [
    "missing",
    "placeholder",
    "format",
    "weak",
    "shared",
    "expired",
    "expiry-marker",
    "clock",
    "file-unsafe",
    "file-present",
    "setting",
    "revoked",
    "revocation-list",
    "previous-until",
    "slots-equal",
    "previous-past",
    "near-miss",
    "superseded",
    "drift",
    "source",
    "unavailable",
    "internal",
    "ephemeral",
    "expiring",
    "cadence",
    "file-fallback",
    "file-stale",
    "file-permissions",
]


@dataclass(frozen=True)
class File:
    """A file of a set-up. With a target it is a link, and without content it is a directory."""

    path: str
    content: bytes | None = None
    mode: int = 0o600
    target: str = ""
    owner: int = 0
    is_pipe: bool = False


@dataclass(frozen=True)
class Step:
    """One process: a command, or a program in the directory."""

    argv: tuple[str, ...] = ()
    program: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    now: datetime = NOW


@dataclass(frozen=True)
class SetUp:
    """A directory, and the processes that run in it one after another."""

    number: int
    files: tuple[File, ...]
    steps: tuple[Step, ...]
    repository: bool = False
    is_process: bool = False


@dataclass(frozen=True)
class Secret:
    """A declared secret.

    Attributes:
        kind: `urlsafe`, `hex` or `opaque`.
        size: the bytes of a key, or the fewest characters of an opaque secret.
    """

    name: str
    variable: str
    kind: str
    size: int
    cadence: int
    warn: int
    overlap: timedelta = timedelta(0)
    file: str = ""
    marker: str = ""

    @property
    def path(self) -> str:
        return self.file or f"config/{self.name}"

    @property
    def expiry(self) -> str:
        return self.marker or f"{self.variable}_EXPIRES_AT"


POLICY = (
    Secret("secret.key", V1, "urlsafe", 32, 90, 14, timedelta(days=14)),
    Secret("secret_v2.key", V2, "hex", 64, 30, 7, timedelta(days=7)),
)


def iso(instant: datetime) -> str:
    """Return an instant as the library writes it."""
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def hash_of(line: str) -> str:
    """Return the hash of a record of the operations log."""
    return f"sha256:{hashlib.sha256(line.encode()).hexdigest()}"


class Maker:
    """Make the set-up with a number.

    Args:
        seed: the seed of the whole run.
        number: the number of the set-up.
        is_process: whether it runs as real processes, with the real clock.
    """

    def __init__(self, seed: str, number: int, *, is_process: bool) -> None:
        self.number, self.is_process = number, is_process
        self.random = Random(f"{seed}/{number}")  # noqa: S311 - it must be the same again
        self._seed, self._keys = f"{seed}/{number}", 0
        self.now = datetime.now(UTC).replace(microsecond=0) if is_process else NOW
        self.files: list[File] = []
        self.environ: dict[str, str] = {}
        self.stdin = b""
        self.secrets: tuple[Secret, ...] = POLICY
        self.model = ""
        self.fingerprints: list[str] = []
        self.values: dict[str, str] = {}
        self.healthy = False

    # Small choices.

    def often(self, probability: float) -> bool:
        return self.random.random() < probability

    def one(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def weighted(self, choices: dict[Any, float]) -> Any:
        return self.random.choices([*choices], [*choices.values()])[0]

    def put(self, path: str, content: str | bytes, mode: int = 0o600, **more: Any) -> None:
        data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        self.files = [file for file in self.files if file.path != path]
        self.files.append(File(path, data, mode, **more))

    def _digest(self) -> bytes:
        self._keys += 1
        return hashlib.blake2b(f"{self._seed}/{self._keys}".encode()).digest()

    def key(self, secret: Secret) -> str:
        """Derive a good key."""
        if secret.kind == "hex":
            return self._digest()[: secret.size].hex()
        text = base64.urlsafe_b64encode(self._digest() + self._digest()).rstrip(b"=").decode()
        if secret.kind == "opaque":
            return f"{text[: max(secret.size, 16)]}!"
        return base64.urlsafe_b64encode((self._digest() + self._digest())[: secret.size]).rstrip(b"=").decode()

    def fingerprint(self, key: str) -> str:
        """Return a key's fingerprint, or one of no key."""
        name = V2 if re.fullmatch("[0-9a-fA-F]{128}", key) else V1
        found = {status.variable: status.fingerprint for status in check(environ={name: key}, now=NOW).secrets}[name]
        return found or f"sgfp1:{hashlib.blake2b(key.encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()}"

    @cached_property
    def other_fingerprint(self) -> str:
        return f"sgfp1:{self._digest()[:16].hex()}"

    # Values.

    def bad(self, secret: Secret) -> str:
        """Derive a bad value of any kind."""
        good, random = self.key(secret), self.random
        at = random.randrange(1, len(good) - 1)
        kinds: dict[str, Callable[[], str]] = {
            "word": lambda: self.one(
                *("changeme", "Change-Me", "replace_with_a_key", "secret", "your-secret-key", "TODO", "xxxx", "none"),
                *("insecure-development-key", "password123", "example", "null", "s3cr3t", "<your-key>", "test"),
            ),
            "template": lambda: self.one("${SECRET}", "{{ secret }}", "%SECRET%", "<replace_with_a_key>", "$SECRET"),
            "encoded": lambda: base64.b64encode(b"please replace this text with a real key").decode(),
            "encoded hex": b"please replace this text with a real key, thank you all".hex,
            "sentence": lambda: f"change-this-{good}"[: len(good)],
            "django": lambda: f"django-insecure-{good}",
            "short": lambda: good[: random.randrange(1, len(good))],
            "one short": lambda: good[:-1],
            "long": lambda: good + good,
            "newline": lambda: f"{good}\n",
            "carriage return": lambda: f"{good}\r\n",
            "lines": lambda: f"{good[:at]}\n{good[at:]}",
            "two keys": lambda: f"{good},{self.key(secret)}",
            "blank before": lambda: f" {good}",
            "blank after": lambda: f"{good} ",
            "tab": lambda: f"{good[:at]}\t{good[at:]}",
            "quotes": lambda: f'"{good}"',
            "apostrophes": lambda: f"'{good}'",
            "quote": lambda: f'"{good}',
            "padding": lambda: f"{good}=",
            "standard": lambda: f"{good[:at]}+/{good[at + 2 :]}",
            "wrong": lambda: f"{good[:at]}{self.one('.', ',', '!', ':', '@', '#', '~', '=', '$', '*')}{good[at + 1 :]}",
            "not ascii": lambda: (
                good[:at] + self.one("ä", "\u0435", "\u200b", "\xa0", "\ufeff", "\U0001f600", "\u0130") + good[at + 1 :]
            ),
            "byte": lambda: f"{good[:at]}\udcff{good[at + 1 :]}",
            "mark": lambda: f"\ufeff{good}",
            "control": lambda: good[:at] + self.one("\x1b", "\x07", "\x7f", "\x01") + good[at + 1 :],
            "assignment": lambda: f"{secret.variable}={good}",
            "export": lambda: f"export {secret.variable}={good}",
            "json": lambda: json.dumps({secret.variable: good}),
            "bearer": lambda: f"Bearer {good}",
            "fingerprint": lambda: self.fingerprint(good),
            "path": lambda: self.one("/run/secrets/secret.key", "config/secret.key", "file:///run/secrets/key"),
            "one character": lambda: self.one("a", "0", "A", "-") * len(good),
            "block": lambda: (good[:4] * len(good))[: len(good)],
            "two characters": lambda: ("Zz" * len(good))[: len(good)],
            "run": lambda: ("abcdefghijklmnopqrstuvwxyz0123456789" * 4)[: len(good)],
            "run inside": lambda: f"{good[:-20]}{self.one('abcdefghijklmnopqrst', 'qwertyuiopasdfghjklz')}",
            "keyboard": lambda: f"{good[:-12]}qwertyuiop12",
            "one case": good.lower,
            "upper case": good.upper,
            "digits": lambda: str(int.from_bytes(self._digest()))[: len(good)],
            "uuid": lambda: "-".join([good[:8], good[8:12], good[12:16], good[16:20], good[20:32]]),
            "half": lambda: good[: len(good) // 2] * 2,
            "mirror": lambda: good[: len(good) // 2] + good[: len(good) // 2][::-1],
            "hex of another size": self._digest()[: self.one(8, 16, 24, 31, 33, 48, 63)].hex,
            "huge": lambda: good * 200,
            "blank": lambda: self.one(" ", "\t", "\n", "  "),
        }
        return kinds[self.one(*kinds)]()

    def value(self, secret: Secret, bad: float) -> str | None:
        if not self.often(bad):
            return self.key(secret)
        others = [value for value in self.values.values() if value]
        kind = self.weighted({"bad": 8, "missing": 2, "empty": 1, "shared": 3 if others else 0})
        if kind == "shared":
            other = self.one(*others)
            alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            return str(self.one(other, other, other[:-1] + self.one(*alphabet), self.key(secret) + other, other[3:]))
        return {"bad": self.bad(secret), "missing": None, "empty": ""}[kind]

    def marker(self, secret: Secret) -> str | None:
        """Return an expiry marker, most often a valid one."""
        slack = timedelta(minutes=31) if self.is_process else timedelta(0)

        def whole(ahead: timedelta) -> str:
            return iso(self.now + ahead + slack)

        kinds: dict[str, Callable[[], str | None]] = {
            "none": lambda: None,
            "good": lambda: whole(DAY * self.random.randrange(secret.warn + 1, secret.cadence)),
            "soon": lambda: whole(HOUR * self.random.randrange(1, 24 * secret.warn)),
            "edge": lambda: whole(
                self.one(DAY * secret.warn, DAY * secret.cadence, DAY * (secret.cadence + 1), DAY, HOUR)
            ),
            "edge of a second": lambda: whole(DAY * secret.warn + timedelta(seconds=self.one(-1, 1))),
            "now": lambda: iso(self.now),
            "past": lambda: iso(self.now - HOUR * self.random.randrange(1, 2000)),
            "far": lambda: whole(DAY * self.random.randrange(secret.cadence + 2, 4000)),
            "naive": lambda: whole(DAY * 40).removesuffix("Z"),
            "date": lambda: whole(DAY * 40)[:10],
            "offset": lambda: (self.now + DAY * 20 + slack).isoformat().replace("+00:00", "+02:00"),
            "small": lambda: whole(DAY * 20).lower(),
            "blank inside": lambda: whole(DAY * 20).replace("T", " "),
            "blank around": lambda: f" {whole(DAY * 20)} ",
            "micro": lambda: whole(DAY * 20).replace("Z", ".123456Z"),
            "words": lambda: self.one("tomorrow", "never", "90d", "", " ", "0", "1830297600", "31.01.2027", "2027-1-1"),
            "invalid": lambda: self.one("2027-02-30T00:00:00Z", "2027-01-31T25:00:00Z", "2027-13-01T00:00:00Z"),
            "end": lambda: self.one("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+14:00", "2027-01-31T08Z"),
            "key": lambda: self.key(secret),
        }
        if self.healthy:
            return kinds[self.one("none", "good", "good", "soon")]()
        names = [*kinds]
        return kinds[self.random.choices(names, [12, 12, 3, 3, 1, 1, 3, 2] + [1] * (len(names) - 8))[0]]()

    def slots(self, secret: Secret, bad: float) -> None:
        """Set the next and the previous key and its deadline, of any quality."""
        if self.healthy:
            names = [
                f"{secret.variable}{suffix}" for suffix in self.one(["_NEXT"], ["_PREVIOUS"], ["_NEXT", "_PREVIOUS"])
            ]
            self.values |= {name: self.key(secret) for name in names}
            self.environ |= {name: self.values[name] for name in names}
            if names[-1].endswith("_PREVIOUS"):
                self.environ[f"{names[-1]}_UNTIL"] = iso(self.now + secret.overlap * 0.7)
            return
        current = self.values.get(secret.variable, "")
        slack = timedelta(minutes=31) if self.is_process else timedelta(0)
        coming = self.weighted({None: 5, self.value(secret, bad): 5, current or None: 1, "": 0.3})
        previous = self.weighted({None: 4, self.value(secret, bad): 6, current or None: 0.7, coming: 0.5, "": 0.3})
        until = self.weighted(
            {
                None: 1 if previous else 8,
                iso(self.now + secret.overlap * self.random.random() + slack): 8 if previous else 1,
                iso(self.now - HOUR * self.random.randrange(1, 500)): 2,
                iso(self.now): 0.5,
                iso(self.now + secret.overlap + DAY + slack): 0.7,
                iso(self.now + secret.overlap + self.random.randrange(2, 50) * DAY + slack): 1,
                iso(self.now + secret.overlap)[:-1]: 0.6,
                "soon": 0.5,
                "": 0.2,
            }
        )
        for suffix, value in (("_NEXT", coming), ("_PREVIOUS", previous), ("_PREVIOUS_UNTIL", until)):
            if value is not None:
                self.environ[secret.variable + suffix] = value
                if value and suffix != "_PREVIOUS_UNTIL":
                    self.values[secret.variable + suffix] = value

    def near_miss(self) -> str:
        """Return the misspelled name of a variable."""
        names = [V1, V2, "ROBODJ_PROTECTED_ENV", "ROBODJ_ALLOW_FILE_SECRET_FALLBACK", "ROBODJ_CONFIG_DIR"]
        names += ["ROBODJ_REVOKED_FINGERPRINTS", "ROBODJ_OPERATIONS_LOG", "ROBODJ_SECRETS_EPHEMERAL"]
        names += [name for secret in self.secrets for name in (secret.variable, secret.expiry)]
        names += [f"{V1}{suffix}" for suffix in ("_NEXT", "_PREVIOUS", "_PREVIOUS_UNTIL")]
        name, random = self.one(*names), self.random
        at = random.randrange(len(name) - 1)
        return str(
            self.one(
                name[:at] + name[at + 1 :],
                name[:-1],
                f"{name}S",
                name[:at] + name[at + 1] + name[at] + name[at + 2 :],
                name[:at] + self.one(*"ABXY_19") + name[at + 1 :],
                name[:at] + self.one(*"ABXY_19") + name[at:],
                name.lower(),
                name.title(),
                f"{name}_FILE",
                f"{name}_PATH",
                f"{name}_{self.one('OLD', 'NEW', 'PREV', 'EXPIRY', 'EXPIRES', 'EXPIRATION', 'EXP', 'VALID_UNTIL')}",
                f"{name}_{self.one('NOT_AFTER', 'EXPIRES_ON', 'EXPIRY_DATE', 'UNTIL', 'DEADLINE', 'EXPORT', 'EXPO')}",
                f"{name}_SERVICE_PORT",
                name.replace("_", "__", 1),
                name.replace("_", "-"),
                name.removeprefix("ROBODJ_"),
                self.one("ROBODJ_PROTECTED_ENVIRONMENT", "ROBODJ_PROTECTED", "ROBODJ_ALLOW_FILE", "ROBODJ_CONFIG"),
                self.one("ROBODJ_REVOKED", "ROBODJ_SECRETS_KEY", "ROBODJ_SECRET_V1_KEY", "ROBODJ_SECRETKEY"),
                self.one("ROBODJ_ENV", "ROBODJ_PROTECTED_MODE", "ROBODJ_ALLOW_FILES", "ROBODJ_FILE_FALLBACK"),
            )
        )

    # The parts of a set-up.

    def declare(self) -> None:
        """Use the shipped model, or write one of the service's own."""
        if self.often(0.55):
            return
        random, own = self.random, list[Secret]()
        extends = self.often(0.75)
        for number in range(random.randrange(0 if extends else 1, 3)):
            kind = self.one("urlsafe", "urlsafe", "hex", "opaque")
            size = {"urlsafe": self.one(16, 24, 32, 48), "hex": self.one(16, 32, 64), "opaque": self.one(4, 8, 20)}[
                kind
            ]
            cadence = self.one(30, 90, 365)
            own.append(
                Secret(
                    self.one("api.key", "session-key", "webhook_token", "db.password") + str(number),
                    self.one("API_KEY", "ROBODJ_SESSION_KEY", "WEBHOOK_TOKEN", "DATABASE_PASSWORD") + str(number),
                    kind,
                    size,
                    cadence,
                    self.one(1, 7, 14),
                    DAY * self.one(0, 0, 1, 7),
                    file=self.one("", "", "config/own.key" + str(number), "config/keys/own" + str(number)),
                    marker=self.one("", "", f"OWN_DEADLINE_{number}"),
                )
            )
        self.secrets = (*(POLICY if extends else ()), *own)
        setup = self.weighted(
            {
                "": 6,
                'config_dir=Path(__file__).resolve().parent / "conf"': 1,
                'config_dir=Path(__file__).resolve().parent / "config"': 1,
                "file_fallback=False": 2,
                "require_revocation_list=True": 2,
                "file_fallback=False, require_revocation_list=True": 1,
                'config_dir="config"': 0.2,
            }
        )
        lines = [f"class Ours({'RuntimeSecrets' if extends else 'SecretSettings'}{', ' * bool(setup)}{setup}):"]
        lines += ['    """The secrets."""']
        for number, secret in enumerate(own):
            lines.append(f"    own_{number}: Annotated[SecretStr, {self._declaration(secret)}]")
        if own and self.often(0.06):
            body = self.one(
                "raise ValueError('no')", "return SecretStr('other')", "raise SystemExit(0)", "print('here')"
            )
            lines += ["    @field_validator('own_0')", "    @classmethod", "    def valid(cls, value):"]
            lines += [f"        {body}", "        return value"]
        head = "from datetime import timedelta\nfrom pathlib import Path\nfrom typing import Annotated\n"
        head += "from pydantic import SecretStr, field_validator\n"
        head += "from robodj_secretguard import *\n"
        if self.often(0.05):
            head += self.one(
                "print('imported')\n",
                "raise RuntimeError('no')\n",
                "import absent_module\n",
                "def broken(:\n",
                "guard()\n",
                "import sys; sys.exit(0)\n",
                "import structlog; structlog.configure(processors=[structlog.processors.JSONRenderer()])\n",
            )
        self.put("service_secrets.py", "\n".join([head, *lines, ""]), 0o644)
        self.model = "service_secrets:Ours"

    def _declaration(self, secret: Secret) -> str:
        fields = [f"name={secret.name!r}", f"variable={secret.variable!r}", f"owner={self.one('Ada', 'Team Web')!r}"]
        fields += [f"cadence=timedelta(days={secret.cadence})", f"warn_before=timedelta(days={secret.warn})"]
        fields += [f"overlap=timedelta(days={secret.overlap.days})"] if secret.overlap else []
        fields += [f"file={secret.file!r}"] if secret.file else []
        fields += [f"expiry_variable={secret.marker!r}"] if secret.marker else []
        fields += ["backup_owner='Grace'"] if self.often(0.3) else []
        if secret.kind == "opaque":
            fields += [f"material=Material.opaque({secret.size})", "issuer='https://vendor.example/keys'"]
        else:
            fields += [f"generator=Generator({'token_' + secret.kind!r}, {secret.size})"]
        if self.often(0.02):
            fields += [self.one("name='two words'", "overlap=timedelta(days=900)", "material=None", "file='/etc/key'")]
            fields = [
                each
                for number, each in enumerate(fields)
                if each.split("=")[0] not in {other.split("=")[0] for other in fields[number + 1 :]}
            ]
        return f"SecretPolicy({', '.join(fields)})"

    def set_keys(self) -> None:
        """Set the variables of every secret."""
        bad = 0.0 if self.healthy else self.one(0.0, 0.15, 0.4, 0.8)
        for secret in self.secrets:
            value = self.value(secret, bad)
            if value is not None:
                self.environ[secret.variable] = value
                self.values[secret.variable] = value
            marker = self.marker(secret) if self.often(0.6) else None
            if marker is not None:
                self.environ[secret.expiry] = marker
            if secret.overlap and self.often(0.3):
                self.slots(secret, bad)
        self.fingerprints = [self.fingerprint(value) for value in self.values.values() if value]

    def set_switches(self) -> None:
        words = {None: 30, "true": 2, "1": 1, "YES": 1, "on": 1, "false": 2, "0": 1, "No": 1, "off": 0.5}
        words |= {"perhaps": 0.4, "": 0.4, " true ": 0.4, "2": 0.4, "t": 0.3}
        for name in ("ROBODJ_PROTECTED_ENV", "ROBODJ_ALLOW_FILE_SECRET_FALLBACK"):
            value = self.weighted(words)
            if value is not None:
                self.environ[name] = value
        if self.often(0.04):
            self.environ["ROBODJ_SECRETS_EPHEMERAL"] = self.one("1", "0", "", "true")
        for _ in range(self.weighted({0: 20, 1: 4, 2: 1, 5: 0.3})):
            self.environ[self.near_miss()] = self.one("1", "true", "false", "x", "", self.key(POLICY[0]), iso(self.now))

    def set_files(self) -> None:
        """Make the config directory, and key files of all kinds."""
        kind = self.weighted({"absent": 2, "directory": 14, "file": 0.4, "link": 1, "dangling": 0.4})
        mode = self.weighted({0o700: 6, 0o755: 6, 0o750: 1, 0o777: 0.6, 0o775: 0.4})
        if self.healthy:
            kind, mode = self.one("directory", "directory", "link"), self.one(0o700, 0o755)
        at = "config" if kind == "directory" else "elsewhere"
        if kind == "link":
            self.files.append(File("config", target="elsewhere"))
        elif kind == "dangling":
            self.files.append(File("config", target="nowhere"))
        elif kind == "file":
            self.put("config", "text")
        if kind in {"directory", "link"}:
            self.files.append(File(at, None, mode, owner=self.weighted({0: 30, 4321: 1})))
        if self.often(0.02 if self.healthy else 0.06):
            self.environ["ROBODJ_CONFIG_DIR"] = self.one("config", "elsewhere", "missing", "", " ", ".", "/nowhere")
        if kind in {"directory", "link"}:
            self.set_key_files(at)

    def set_key_files(self, at: str) -> None:
        """Write key files of all kinds, and files like them."""
        for secret in self.secrets:
            if self.often(0.05 if self.healthy else 0.25):
                self._key_file(secret, f"{at}/{secret.path.removeprefix('config/')}")
        if self.often(0.03):
            name = self.one("secret.key.txt", "revoked.fingerprints.txt", "secret.key.bak", "secret_v2.key.TXT")
            self.put(f"{at}/{name}", self.key(POLICY[0]))
        if self.often(0.1):
            self.put(f"{at}/secret.key.example", "# generate a key with robodj-secretguard generate\n", 0o644)

    def _key_file(self, secret: Secret, path: str) -> None:
        good = self.key(secret)
        if self.often(0.5):
            self.environ.pop(secret.variable, None)
        content: str | bytes = self.weighted(
            {
                f"{good}\n": 8,
                good: 3,
                f"# a comment\n\n{good}\n": 2,
                f"{good}\n{self.key(secret)}\n": 1,
                f"{self.values.get(secret.variable, good)}\n": 2,
                f"{self.bad(secret)}\n": 4,
                "": 1,
                "# a comment\n": 1,
                f"\ufeff{good}\n": 0.5,
                f"{good}\r\n": 0.7,
                f"  {good}\n": 0.5,
                "#" * 4097: 0.5,
                "#" * 4096: 0.3,
                f"{good}\udcff\n": 0.4,
                f"{good}\0\n": 0.4,
            }
        )
        mode = self.weighted({0o600: 10, 0o400: 1, 0o640: 1, 0o644: 1, 0o660: 1, 0o666: 0.7, 0o604: 0.3})
        kind = self.weighted({"file": 20, "link": 1, "dangling": 0.5, "directory": 0.5, "pipe": 0.5})
        owner = self.weighted({0: 30, 4321: 1})
        self.values.setdefault(f"file {secret.name}", good)
        if kind == "file":
            self.put(path, content, mode, owner=owner)
        elif kind == "link":
            self.put("kept.key", content, mode, owner=owner)
            self.files.append(File(path, target="../kept.key" if path.count("/") == 1 else "../../kept.key"))
        elif kind == "dangling":
            self.files.append(File(path, target="absent.key"))
        elif kind == "pipe":
            self.files.append(File(path, is_pipe=True))
        else:
            self.files.append(File(path, None, 0o700))

    def _entry(self) -> str:
        if self.healthy:
            return self.other_fingerprint
        known = [*self.fingerprints, self.other_fingerprint]
        entry = self.one(*known)
        return str(
            self.weighted(
                {
                    entry: 8,
                    f"{entry}@{iso(self.now + DAY * self.one(-3, 1, 5, 100))}": 3,
                    f"{entry}@{iso(self.now)}": 0.3,
                    f"{entry}@soon": 0.4,
                    f"{entry}@2027-01-31": 0.3,
                    entry.upper(): 0.4,
                    entry[:-1]: 0.4,
                    "not-a-fingerprint": 0.3,
                    self.key(POLICY[0]): 0.2,
                    "sgfp1:": 0.2,
                }
            )
        )

    def set_revocations(self) -> None:
        if self.often(0.3):
            lines = ["# RoboDJ's revocation list"] * self.often(0.6)
            lines += [self._entry() for _ in range(self.weighted({0: 5, 1: 3, 2: 2, 4: 1}))]
            text = "\n".join([*lines, ""]) if self.often(0.9) else "\r\n".join(lines)
            text = self.weighted({text: 20, f"\ufeff{text}": 0.5, "": 1, f"{text}\udcfe": 0.4, f"{text}  # why": 0.7})
            path = "conf/revoked.fingerprints" if self.often(0.1) else LIST
            self.put(path, text, self.weighted({0o644: 8, 0o600: 2, 0o666: 0.5, 0o664: 0.5}))
        if self.often(0.12):
            text = self.one(",", " ", ", ", "\n", ";").join(self._entry() for _ in range(self.one(1, 1, 2, 3)))
            self.environ["ROBODJ_REVOKED_FINGERPRINTS"] = self.weighted({text: 8, "": 0.5, " , ": 0.3})
        slots = [value for name, value in self.values.items() if name.endswith(("_NEXT", "_PREVIOUS"))]
        if slots and self.often(0.3):
            at = iso(self.now + HOUR * self.random.randrange(-20, 200))
            self.environ["ROBODJ_REVOKED_FINGERPRINTS"] = self.fingerprint(self.one(*slots)) + self.one(
                "", f"@{at}", f"@{at}"
            )

    def records(self, ago: int) -> list[str]:
        """Return the lines of an operations log, the oldest record so many days ago."""
        lines, previous = list[str](), None
        count = self.weighted({0: 0.3, 1: 3, 2: 3, 3: 2, 6: 2, 12: 1})
        times = sorted(self.random.sample(range(ago * 86400), count), reverse=True)
        known = [*self.fingerprints, self.other_fingerprint, f"sgfp1:{self._digest()[:16].hex()}"]
        for number, seconds in enumerate(times, start=1):
            secret = self.one(*self.secrets)
            event = self.weighted(
                {"rotated": 6, "rotation-incomplete": 3, "revoked": 2, "staged": 1, "retired": 0.7, "rolled-back": 0.4}
            )
            steps = {"gate": "verified", "startup": "attested", "functions": "attested", "log": "verified"}
            if event == "rotation-incomplete":
                steps |= dict.fromkeys(self.one(["startup"], ["functions"], ["startup", "functions"]), "not-done")
            at = self.now - timedelta(seconds=seconds)
            replaced = self.one(*known) if event.startswith("rotat") and secret.overlap and self.often(0.4) else None
            record = {
                "schema": 1,
                "sequence": number,
                "recorded_at": iso(at),
                "event": event,
                "secret": secret.name,
                "environment": self.weighted({"prod": 6, "staging": 2, "dev": 1}),
                "owner": "Security Operations",
                "operator": self.one("Ada", "Grace Hopper", None),
                "ticket": self.one("OPS-1", None),
                "reason": self.one("leaked", "drill") if event == "revoked" else None,
                "fingerprint": self.one(*known),
                "expires_at": self.one(None, iso(at + DAY * secret.cadence)),
                "replaced": replaced,
                "replaced_until": iso(at + secret.overlap) if replaced else None,
                "validation": steps if event.startswith("rotat") else None,
                "previous": previous,
            }
            lines.append(json.dumps(record, separators=(",", ":")))
            previous = hash_of(lines[-1])
        return lines

    def set_log(self, path: str = LOG, *, always: bool = False) -> None:
        """Write an operations log with records, sometimes a damaged one."""
        if not always and self.often(0.55):
            return
        lines = self.records(self.one(3, 20, 100, 500))
        head = {"schema": 1, "sequence": len(lines), "hash": hash_of(lines[-1] if lines else "")}
        text, head_text = "".join(f"{line}\n" for line in lines), json.dumps(head, separators=(",", ":"))
        half = len(lines) // 2
        damages: dict[str, Callable[[], tuple[str, str]]] = {
            "none": lambda: (text, head_text),
            "edit": lambda: (text.replace("Ada", "Eve").replace("prod", "dev", 1), head_text),
            "torn": lambda: (text[: -self.random.randrange(1, 300)], head_text),
            "torn after": lambda: (text + text[: self.random.randrange(1, 300)], head_text),
            "cut": lambda: ("".join(f"{line}\n" for line in lines[:-1]), head_text),
            "middle": lambda: ("".join(f"{line}\n" for line in lines[:half] + lines[half + 1 :]), head_text),
            "garbage": lambda: (text + self.one("garbage\n", "{}\n", "\0\n", "\n", '{"schema":2}\n'), head_text),
            "no head": lambda: (text, ""),
            "bad head": lambda: (text, self.one("{}", "x", head_text.replace("256:", "256:0"), head_text[:-4], "\0")),
            "extra": lambda: (text + "".join(f"{line}\n" for line in lines[-1:]), head_text),
            "swap": lambda: ("".join(f"{line}\n" for line in lines[::-1]), head_text),
        }
        text, head_text = damages[self.weighted(dict.fromkeys(damages, 0.5) | {"none": 12 if lines else 0})]()
        mode = self.weighted({0o640: 8, 0o600: 4, 0o666: 0.4, 0o660: 0.5})
        if "/" in path:
            self.files.append(File(path.rpartition("/")[0], None, self.weighted({0o750: 8, 0o700: 3, 0o777: 0.3})))
        self.put(path, text, mode)
        if head_text:
            self.put(f"{path}.head", f"{head_text}\n" if self.often(0.5) else head_text, 0o640)
        if self.often(0.06) and not always:
            self.environ["ROBODJ_OPERATIONS_LOG"] = self.one(LOG, "other.jsonl", "missing/log.jsonl", "", "config")

    def set_project(self) -> None:
        """Write pyproject.toml, with the model where the service has one."""
        if not self.model and self.often(0.9):
            return
        lines = ["[project]", 'name = "service"', "", "[tool.robodj-secretguard]"]
        lines += [f'model = "{self.model}"'] if self.model and self.often(0.95) else []
        lines += [self.one("strict = true", "strict = false", 'strict = "yes"')] if self.often(0.1) else []
        lines += [self.one("require-env-only = true", "require-env-only = 1")] if self.often(0.07) else []
        lines += [self.one(f'operations-log = "{LOG}"', 'operations-log = "ops.jsonl"')] if self.often(0.07) else []
        lines += [self.one("modell = 'x'", "model = 3", "model = 'no colon'", "[", "model = 'a:b'")] * self.often(0.04)
        self.put("pyproject.toml", "\n".join([*lines, ""]), self.weighted({0o644: 30, 0o666: 0.5}))

    def set_events(self) -> None:
        self.environ |= {"ROBODJ_SERVICE": "api", "ROBODJ_INSTANCE": "web-1"}
        if self.often(0.25):
            self.environ["ROBODJ_SECRET_EVENTS"] = self.one(
                "stdout", "stderr", "relative.log", "STDOUT", "", "/nowhere/x"
            )
        if self.often(0.1):
            self.environ["ROBODJ_SECRET_HEARTBEAT"] = self.one("5", "0", "abc", "86401", "86400", "", "1.5")
        if self.often(0.05):
            self.environ[self.one("ROBODJ_SERVICE", "ROBODJ_INSTANCE")] = self.one("two words", "a" * 121, "", "ä")

    # The commands.

    def shared_options(self, *, strict: bool = True) -> list[str]:
        options = list[str]()
        options += ["--format", "json"] if self.often(0.4) else []
        options += ["--strict"] if strict and self.often(0.2) else []
        options += ["--require-env-only"] if strict and self.often(0.2) else []
        options += ["--color", self.one("always", "never", "auto")] if self.often(0.08) else []
        return options + self.place_options()

    def place_options(self) -> list[str]:
        options = list[str]()
        options += ["--config-dir", self.one("config", "elsewhere", "conf", "missing", ".")] if self.often(0.06) else []
        options += ["--operations-log", self.one(LOG, "other.jsonl", "missing/x.jsonl")] if self.often(0.05) else []
        if self.model and self.often(0.1):
            options += ["--model", self.one(self.model, "service_secrets:Absent", "absent:Ours", "nocolon", "os:path")]
        elif self.often(0.02):
            options += ["--model", self.one("robodj_secretguard:RuntimeSecrets", "json:JSONDecoder", "", ":")]
        return options

    def sources(self) -> list[str]:
        """Return `--from`, and write the directory or stdin that it reads."""
        delivered = {
            name: value for name, value in self.environ.items() if any(name in s.variable for s in self.secrets)
        }
        for name in [*delivered]:
            if self.often(0.6):
                del self.environ[name]
        for secret in self.secrets:
            if self.often(0.5):
                delivered[secret.variable] = self.value(secret, 0.2) or ""
                self.environ.pop(secret.variable, None)
        if self.often(0.5):
            document: Any = delivered | ({"OTHER": "1"} if self.often(0.3) else {})
            text = json.dumps(document)
            text = self.weighted(
                {text: 20, "": 0.5, "[]": 0.5, "{": 0.5, f"{text}x": 0.5, '{"A": 1}': 0.5, "null": 0.3}
            )
            self.stdin = text.encode()
            return ["--from", self.weighted({"json:-": 20, "json:file": 0.5, "json:": 0.5})]
        directory = self.one("secrets", "run/secrets")
        self.files += [File("run", None, 0o755), File(directory, None, self.weighted({0o755: 9, 0o700: 5, 0o777: 0.5}))]
        names = {secret.variable: secret.name for secret in self.secrets}
        for name, value in delivered.items():
            file = names.get(name, name) if self.often(0.3) else name
            self.put(
                f"{directory}/{file}", value + "\n" * self.often(0.5), self.weighted({0o444: 5, 0o600: 5, 0o666: 0.3})
            )
        return ["--from", f"directory:{self.weighted({directory: 20, 'absent': 1, '': 0.4})}"]

    def environment(self) -> list[str]:
        return ["--environment", self.weighted({"prod": 8, "staging": 2, "Prod": 0.3, "x y": 0.2})]

    def operator(self) -> list[str]:
        return ["--operator", self.weighted({"Ada": 8, "Grace Hopper": 2, "": 0.3, "a\nb": 0.2, "x" * 300: 0.2})]

    def name(self, unknown: float = 0.05) -> str:
        if self.often(unknown):
            return str(self.one("secret", "secret.keys", "SECRET.KEY", V1, "absent.key", self.key(POLICY[0])))
        return str(self.one(*self.secrets).name)

    def check(self) -> list[str]:
        return ["check", *(self.sources() if self.often(0.2) else []), *self.shared_options()]

    def status(self) -> list[str]:
        argv = ["status", *self.shared_options(), *(self.sources() if self.often(0.08) else [])]
        return [*argv, "--format", "openmetrics"] if self.often(0.2) else argv

    def exec(self) -> list[str]:
        names = "env | cut -d= -f1 | grep -E 'ROBODJ|KEY|TOKEN|PASSWORD' | sort"
        values = "env | grep -E 'ROBODJ|KEY|TOKEN|PASSWORD' | sort | cksum"
        is_temporary = self.often(0.15)
        command = self.weighted({f"{names}; {'' if is_temporary else values}": 10, "exit 7": 1, "echo served >&2": 1})
        argv = ["exec", *(["--ephemeral"] if is_temporary else self.sources() if self.often(0.2) else [])]
        if is_temporary and self.often(0.8):
            for secret in self.secrets:
                for name in [name for name in self.environ if name.startswith(secret.variable)]:
                    del self.environ[name]
        program = self.weighted({("sh", "-c", command): 20, ("absent-program",): 1, ("/etc/hostname",): 0.7, (): 0.5})
        return [*argv, *self.shared_options(), "--", *program]

    def explain(self) -> list[str]:
        checks = [self.weighted({self.one(*CHECKS): 20, "formt": 1, "": 0.3}) for _ in range(self.one(0, 1, 1, 2, 3))]
        return ["explain", *checks, *(["--format", "json"] if self.often(0.4) else []), *self.place_options()[4:]]

    def plan(self) -> list[str]:
        argv = ["rotate", "plan", self.name(), *(self.environment() if self.often(0.6) else [])]
        argv += ["--emergency"] if self.often(0.3) else []
        argv += self.operator() if self.often(0.3) else []
        argv += ["--ticket", self.one("OPS-7", "a b", "")] if self.often(0.2) else []
        return [*argv, *self.shared_options(strict=False)]

    def record(self) -> list[str]:
        argv = ["rotate", "record", *(self.name(0.03) for _ in range(self.one(0, 0, 1, 2)))]
        argv += [*self.environment(), *self.operator()]
        argv += ["--attest", "startup"] if self.often(0.5) else []
        argv += ["--attest", "functions"] if self.often(0.5) else []
        if self.often(0.15):
            self.set_log("known.jsonl", always=True)
            argv += ["--known", "known.jsonl"]
        return [*argv, *self.shared_options(strict=False)]

    def revoke(self) -> list[str]:
        which = self.weighted({"name": 6, "fingerprint": 3, "both": 0.3, "none": 0.3})
        argv = [
            "revoke",
            "--reason",
            self.weighted({"leaked": 8, "posted in a chat": 3, "": 0.3, self.key(POLICY[0]): 0.3}),
        ]
        argv += [self.name()] if which in {"name", "both"} else []
        known = [*self.fingerprints, self.other_fingerprint]
        argv += ["--fingerprint", self.one(*known, *known, "sgfp1:0")] if which in {"fingerprint", "both"} else []
        argv += ["--yes"] if self.often(0.6) else []
        argv += self.environment() if self.often(0.1) else []
        argv += self.operator() if self.often(0.4) else []
        return [*argv, *self.shared_options(strict=False)]

    def generate(self) -> list[str]:
        argv = ["generate", *(self.name(0.03) for _ in range(self.one(0, 1, 1, 2)))]
        argv += ["--show"] if self.often(0.2) else []
        argv += ["--format", self.one("text", "env", "shell", "json", "xml")] if self.often(0.5) else []
        self.environ |= {"CI": self.one("1", "true", "")} if self.often(0.1) else {}
        return argv

    def log(self) -> list[str]:
        if self.often(0.5):
            lines = [file.content or b"" for file in self.files if file.path == LOG]
            hashes = [hash_of(line.decode(errors="replace")) for text in lines for line in text.splitlines()]
            expect = ["--expect", self.one(*hashes, f"sha256:{'0' * 64}", "sha256:0")] if self.often(0.3) else []
            return ["log", "verify", *expect, *self.shared_options(strict=False)]
        argv = ["log", "show", *self.shared_options(strict=False)]
        argv += ["--secret", self.name()] if self.often(0.3) else []
        argv += ["--event", self.one("rotated", "revoked", "staged", "rotate")] if self.often(0.3) else []
        argv += self.environment() if self.often(0.3) else []
        return argv + self.period(0.3)

    def period(self, likely: float) -> list[str]:
        times = [iso(self.now - DAY * self.one(1, 30, 200)), iso(self.now)[:10], "yesterday", iso(self.now + DAY), ""]
        argv = ["--since", self.random.choices(times, [8, 2, 0.4, 0.2, 0.2])[0]] if self.often(likely) else []
        return [*argv, *(["--until", self.random.choices(times, [1, 1, 0.3, 6, 0.2])[0]] if self.often(0.3) else [])]

    def incident(self) -> list[str]:
        argv = ["incident", *self.period(0.97), *(["--require-env-only"] if self.often(0.1) else [])]
        return [*argv, *self.shared_options(strict=False)]

    def events(self) -> list[str]:
        """Return lines with start events, and a few other lines."""
        lines, known = list[str](), [*self.fingerprints, self.other_fingerprint, None]
        for _ in range(self.one(1, 2, 4, 8)):
            kind = self.weighted({"running": 6, "started": 3, "refused": 1, "stopped": 0.2})
            text = {"running": "secrets in use", "started": "secret integrity check passed"}
            at = self.now - timedelta(seconds=self.one(5, 100, 600, 1100, 1500, 90000, -100, -400))
            instance = self.one("web-1", "web-2", "web-3")
            event: dict[str, Any] = {
                "secret_event": kind,
                "event": text.get(kind, "secret integrity check failed"),
                "service": self.weighted({"api": 9, "worker": 1}),
                "instance": instance,
                "process": f"{len(lines)}.0@{iso(at)}",  # each event is that of another process
                "number": 0,
                "started_at": iso(at - timedelta(seconds=self.one(0, 0, 600, 90000))),
                "reported_at": iso(at),
                "heartbeat_seconds": self.one(0, 300),
                "version": "0.1.0",
                "model": "ours:Ours",
                "secrets": {
                    secret.name: {
                        "current": self.one(*known),
                        "next": self.one(None, None, *known),
                        "previous": self.one(None, None, *known),
                        "previous_until": self.one(None, iso(self.now + HOUR)),
                    }
                    for secret in self.secrets
                },
                "off": self.one([], ["sentry.dsn"]),
                "checks": self.one([], ["secret.key: missing"], ["secret.key: revoked", "cadence"]),
            }
            if self.often(0.02):
                event[self.one(*sorted({*event} - {"process", "number"}))] = self.one(None, 3, "x", [], {})
            line, other = json.dumps(event), self.one("garbage", "", "{}", '{"secret_event": 1}', "\udcff")
            cut = line[: self.random.randrange(1, len(line))]
            lines.append(self.weighted({line: 20, cut: 0.2, other: 0.2}) + "\n")
        return lines

    def fleet(self) -> list[str]:
        rosters = (
            '[api]\ninstances = ["web-1"]\n',
            '[api]\ninstances = ["web-1", "web-2"]\n',
            f'[api]\ninstances = ["web-1"]\nsecrets = ["{self.name(0)}"]\n[worker]\ninstances = ["web-3"]\n',
            "[api]\ninstances = 2\n",
            "",
        )
        roster = self.random.choices(rosters, [8, 8, 8, 1, 0.5])[0]
        self.put("roster.toml", roster, 0o644)
        self.put("events.jsonl", "".join(self.events()), 0o644)
        argv = ["fleet", "--roster", self.weighted({"roster.toml": 20, "absent": 0.5})]
        argv += ["--events", self.weighted({"events.jsonl": 20, "absent": 0.5})] if self.often(0.96) else []
        for _ in range(self.one(0, 0, 1, 2)):
            none_on = ["none-on", self.one(*self.fingerprints, self.other_fingerprint, "sgfp1:0")]
            good, bad = (["moved"], ["has-next"], none_on), (["moved", "has-next"], ["move"], ["none-on"])
            argv += ["--require", *self.one(*(bad if self.often(0.1) else good))]
        argv += ["--secret", self.name()] if self.often(0.25) else []
        argv += ["--max-age", self.one("400", "900", "1200", "9000", "60", "x")] if self.often(0.2) else []
        argv += self.environment() if self.often(0.4) else []
        return [*argv, *self.shared_options(strict=False)]

    def scan(self) -> list[str]:
        values = [value for value in self.values.values() if value] or ["text"]
        self.put("src/main.py", "import os\n", 0o644)
        self.put("notes.txt0", "notes\n", 0o644)
        for number in range(self.one(0, 1, 2, 4)):
            value = self.one(*values, self.key(POLICY[0])).encode("utf-8", "surrogateescape")
            text = self.one(
                value,
                b"key = '" + value + b"'\n",
                base64.b64encode(value),
                base64.b64encode(b"token:" + value),
                value.hex().encode(),
                b"x" * 100 + value[:-2],
                b"ROBODJ_SECRET_KEY=" + value + b"\n",
                b"line\n" * 50 + b'{"ROBODJ_SECRET_V2_KEY": "' + value + b'"}',
                value.decode(errors="replace").encode("utf-16"),
                b"\0\1\2" + value + b"\0",
            )
            self.put(
                self.one("src/app.py", ".env", "notes.txt", "deploy/a.yml", "config/secret.key") + str(number),
                text,
                0o644,
            )
        if self.often(0.1):
            self.put("src/secret.key", values[0], 0o644)
        argv = [
            "scan",
            *self.one([], [], ["."], ["src"], ["absent" if self.often(0.3) else "src"], ["src", "notes.txt0"]),
        ]
        argv += ["--fingerprints"] if self.often(0.2) else []
        argv += ["--format", self.one("json", "text")] if self.often(0.5) else []
        if self.often(0.15):
            self.put("keys.txt", "\n".join([self.key(POLICY[0]), values[0], ""]))
            argv += ["--keys-from", self.one("keys.txt", "absent.txt")]
        return [*argv, *self.one([], [], [], ["--git-history"], ["--staged"]), *self.place_options()]

    def init(self) -> list[str]:
        for name, texts in {
            ".gitignore": ("*.pyc\n", "config/*\n", "", "*.pyc"),
            "pyproject.toml": (
                "[project]\nname = 'x'\n",
                "[tool.robodj-secretguard]\nmodel = 'a:B'\n",
                "",
                "[",
                "[tool]",
            ),
            ".pre-commit-config.yaml": ("repos:\n- repo: local\n  hooks:\n  - id: x\n", "repos: []\n", "", "- a\n"),
            "service_secrets.py": ("import os\n", ""),
        }.items():
            if self.often(0.4):
                self.put(name, self.one(*texts), self.one(0o644, 0o644, 0o600))
        settings = ["--settings", self.one("app/secrets.py", "app/a-b.py", "/etc/x.py", "src/own.py", "secrets.py")]
        argv = ["init", *(settings if self.often(0.3) else []), *(["--yes"] if self.often(0.6) else [])]
        return [*argv, *(["--format", "json"] if self.often(0.3) else [])]

    def misuse(self) -> list[str]:
        """Return a command line with a mistake."""
        commands = (self.check, self.status, self.plan, self.record, self.revoke, self.log, self.fleet, self.generate)
        argv = self.one(*commands, self.explain, self.scan, self.init, self.incident, self.exec)()
        random = self.random
        for _ in range(self.one(1, 1, 1, 2)):
            at = random.randrange(len(argv) + 1)
            word = argv[at] if at < len(argv) else "check"
            change = self.one("drop", "double", "insert", "misspell", "option", "equals", "cut", "swap")
            if change == "drop":
                argv = argv[:at] + argv[at + 1 :]
            elif change == "double":
                argv = [*argv[:at], word, *argv[at:]]
            elif change == "insert":
                more = self.one(
                    "extra", "-", "--", "", "-x", "--help", "--version", self.key(POLICY[0]), "status", "--format=yaml"
                )
                argv = [*argv[:at], more, *argv[at:]]
            elif change == "misspell":
                spot = random.randrange(len(word) + 1)
                argv = [*argv[:at], word[:spot] + self.one("x", "-", "s", "") + word[spot + 1 :], *argv[at + 1 :]]
            elif change == "option":
                names = (
                    "--strickt",
                    "--foramt",
                    "--model",
                    "--since",
                    "--operator",
                    "--reason",
                    "--config",
                    "--fmt",
                    "--wait",
                )
                argv = [*argv[:at], self.one(*names), *argv[at:]]
            elif change == "equals":
                argv = [*argv[:at], f"{word}={self.one('1', 'json', '')}", *argv[at + 1 :]]
            elif change == "cut":
                argv = argv[:at]
            else:
                random.shuffle(argv)
        return [word for word in argv if "\0" not in word]

    def help(self) -> list[str]:
        groups = ("rotate", "log")
        leaves = (
            "rotate plan",
            "rotate record",
            "rotate stage",
            "log show",
            "log verify",
            "incident",
        )
        single = ("check", "fleet", "status", "exec", "explain", "generate", "revoke", "scan", "init", "")
        return [*self.one(*groups, *leaves, *single).split(), self.one("--help", "--help", "-h", "--version")]

    def guard(self) -> str:
        """Write a service that calls `guard()`, and return its name."""
        self.set_events()
        arguments = [self.model.partition(":")[2]] if self.model else []
        arguments += ["require_env_only=True"] if self.often(0.15) else []
        arguments += [f"config_dir={self.one('config', 'elsewhere', 'missing')!r}"] if self.often(0.1) else []
        arguments += [f"exit_status={self.one('1', '7', '255', '0', '256', 'True')}"] if self.often(0.06) else []
        before = self.weighted(
            {
                "": 12,
                "import structlog; structlog.configure(processors=[structlog.processors.JSONRenderer()])": 1.5,
                "import structlog; structlog.configure(processors=[structlog.processors.KeyValueRenderer()])": 0.5,
                "import logging; logging.basicConfig()": 0.3,
                "import sys; sys.stdout.close()": 0.2,
            }
        )
        after = ["print('served', SECRETS)", "print(sorted(SECRETS.secret_policies))"]
        field = "next(getattr(SECRETS, field) for field, each in SECRETS.secret_policies.items() if each.name == name)"
        after.append(f"ring = lambda name: SECRETS.keyring(name) if hasattr(SECRETS, 'keyring') else {field}")
        for secret in self.secrets:
            if secret.kind != "opaque" and self.often(0.3):
                ring = f"ring({secret.name!r})"
                after.append(f"print([(key.role, key.value) for key in {ring}.accepted()], {ring}.current.role)")
        self.write_program(before, f"SECRETS = guard({', '.join(arguments)})", *after)
        if self.often(0.05):
            self.environ[self.one("WERKZEUG_RUN_MAIN", "RUN_MAIN", "BOTTLE_CHILD")] = self.one("true", "")
        return "app.py"

    def report(self) -> str:
        """Write a program that prints the report of `check()`, and return its name."""
        arguments = [self.model.partition(":")[2]] if self.model else []
        arguments += ["require_env_only=True"] if self.often(0.2) else []
        arguments += [f"config_dir={self.one('config', 'elsewhere', 'missing')!r}"] if self.often(0.1) else []
        self.write_program(
            "import json",
            f"REPORT = check({', '.join(arguments)})",
            "print(json.dumps(REPORT.as_dict(), indent=1))",
            "print(REPORT.ok, [finding.text for finding in REPORT.findings])",
            "for s in REPORT.secrets: print(s)",
        )
        return "app.py"

    def write_program(self, *lines: str) -> None:
        head = ["from robodj_secretguard import *"]
        head += [f"from {self.model.replace(':', ' import ')}"] if self.model else []
        self.put("app.py", "\n".join([*head, *lines, ""]), 0o644)

    def step(self, argv: Sequence[str] = (), program: str = "", **more: Any) -> Step:
        base = {"PATH": PATH, "HOME": "/nonexistent", "LANG": "C.UTF-8", "TZ": "UTC"}
        base |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        environ = base | {name: value for name, value in self.environ.items() if "\0" not in value}
        return Step(tuple(argv), program, **{"environ": environ, "stdin": self.stdin, "now": self.now, **more})

    def lifecycle(self) -> list[Step]:
        """Return steps that rotate, record, revoke and look, each some hours after the one before."""
        steps, time = list[Step](), self.now
        for _ in range(self.one(3, 4, 6)):
            self.stdin = b""
            action = self.one(
                self.record, self.record, self.revoke, self.status, self.plan, self.check, self.log, self.incident
            )
            argv = action()
            steps.append(self.step(argv, now=self.now if self.is_process else time))
            time += HOUR * self.one(1, 30, 24 * 8)
            if action == self.record and self.often(0.7):
                secret = self.one(*self.secrets)
                old = self.environ.get(secret.variable)
                if secret.overlap and old and self.often(0.5):
                    self.environ[f"{secret.variable}_PREVIOUS"] = old
                    self.environ[f"{secret.variable}_PREVIOUS_UNTIL"] = iso(time + secret.overlap)
                self.environ[secret.variable] = self.key(secret)
                self.environ[secret.expiry] = iso(time + DAY * secret.cadence)
                self.fingerprints.append(self.fingerprint(self.environ[secret.variable]))
        return steps

    def make(self) -> SetUp:
        """Make the set-up."""
        kind = self.weighted(
            {
                "guard": 14, "report": 10, "check": 14, "status": 8, "exec": 5, "explain": 2, "plan": 7, "record": 6,
                "revoke": 6, "generate": 4, "log": 5, "incident": 4, "fleet": 7, "scan": 5, "init": 3, "misuse": 8,
                "help": 1, "lifecycle": 6, "scan and incident": 1, "clock": 0.5, "generate and check": 1,
                "init and check": 1,
            }
        )  # fmt: skip
        if kind not in {"init", "init and check"}:
            self.declare()
        self.healthy = self.often(0.25 if kind in {"guard", "report", "check", "misuse"} else 0.7)
        self.set_keys()
        self.set_files()
        if kind in {"guard", "report", "check", "exec", "clock", "misuse"} or not self.healthy:
            self.set_switches()
        self.set_revocations()
        if kind not in {"guard", "report"}:
            self.set_log()
            self.set_project()
        steps = self._steps(kind)
        repository = any("--git-history" in step.argv or "--staged" in step.argv for step in steps) or (
            kind in {"scan", "init"} and self.often(0.1)
        )
        # A directory comes before its content, and a later file replaces an earlier one.
        files = {file.path: file for file in self.files}
        ordered = sorted(files.values(), key=lambda file: file.path.count("/"))
        return SetUp(self.number, tuple(ordered), tuple(steps), repository, self.is_process)

    def _steps(self, kind: str) -> list[Step]:
        steps: dict[str, Callable[[], list[Step]]] = {
            "guard": lambda: [self.step(program=self.guard())],
            "report": lambda: [self.step(program=self.report())],
            "lifecycle": self.lifecycle,
            "clock": self.with_another_clock,
            "scan and incident": self.scan_and_report,
            "init and check": lambda: [self.step([*self.init(), "--yes"]), self.step(["check"]), self.step(["init"])],
        }
        return steps[kind]() if kind in steps else [self.step(getattr(self, kind)())]

    def with_another_clock(self) -> list[Step]:
        argv = self.one(self.check, self.status, self.plan)()
        return [self.step(argv, now=NOW.replace(year=self.one(1970, 2020, 9998)))]

    def scan_and_report(self) -> list[Step]:
        argv = [*self.scan(), "--format", "json"]
        return [self.step(argv), self.step(self.incident())]
