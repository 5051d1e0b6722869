"""Properties for any input. The full run has a thousand inputs for each property, and the fast run thirty."""

from __future__ import annotations

import contextlib
import io
import secrets
import shutil
import string
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from command_line import report_json
from conftest import NOW, V1, document_of, good_keys, marker, process_environment
from detector import without_fingerprints
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, create_model
from test_operations_log import LINES as RECORDS
from test_operations_log import append, head_of, joined, load, read, refused, some

from robodj_secretguard import Check, RuntimeSecrets, SecretPolicy, SecretSettings, check, guard
from robodj_secretguard.cli import EXIT_ALERTS, EXIT_CLEAN, main
from robodj_secretguard.cli.gate import report_result
from robodj_secretguard.cli.output import format_text
from robodj_secretguard.secret.material import fingerprint, is_hexadecimal, weakness
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.readings import MAX_FILE_BYTES
from robodj_secretguard.startup.report import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from robodj_secretguard import Report

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
KEYS = good_keys()
SWITCHES = ("ROBODJ_PROTECTED_ENV", "ROBODJ_ALLOW_FILE_SECRET_FALLBACK")
REVOKED, REVOKED_FILE = "ROBODJ_REVOKED_FINGERPRINTS", "revoked.fingerprints"
LISTED = [fingerprint(SealedStr(key)) for key in (*KEYS.values(), *good_keys().values())]

# The possible values of a variable: any text without NUL, with invalid bytes as surrogates.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from("\udc80\udcff")
TEXT = st.text(CHARACTERS, max_size=200)
NAME = st.text(CHARACTERS.filter(lambda character: character != "="), min_size=1, max_size=40)
INSTANTS = st.timedeltas(timedelta(days=-400), timedelta(days=400)).map(marker)


def words(*known: str) -> st.SearchStrategy[str]:
    """Draw the text of a variable: any text, or text close to a valid value."""
    near = st.sampled_from([*known, *KEYS.values(), *LISTED, ",".join(LISTED), "true", "maybe", "changeme", "", " "])
    edited = st.builds(lambda text, at, more: text[:at] + more + text[at + 1 :], near, st.integers(0, 50), TEXT)
    return near | TEXT | edited | INSTANTS


LINES = st.lists(words("# comment"), max_size=4).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogateescape"))
CONTENT = LINES | st.binary(max_size=300) | st.just(b"a" * (MAX_FILE_BYTES + 1))
NAMES = [
    [name, policy.expiry_variable, f"{name}S", f"{name}_EXPIRES", f"{name}_FILE"]
    for policy in POLICIES
    for name in [policy.variable]
]
FILES = ["secret.key", "secret.key.txt", "secret_v2.key", "secret_v2.key.txt", REVOKED_FILE]
ENVIRON = st.dictionaries(st.sampled_from([*NAMES[0], *NAMES[1], *SWITCHES, REVOKED]), words())
ANY_ENVIRON = st.dictionaries(
    st.sampled_from([*NAMES[0], *NAMES[1], *SWITCHES, "ROBODJ_CONFIG_DIR", REVOKED, f"{REVOKED}S"]) | NAME, words()
)
ANY_FILES = st.dictionaries(st.sampled_from([*FILES, f"{REVOKED_FILE}.txt"]), CONTENT)


def for_any(**strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test for drawn inputs: a few in the fast run, and many in the full run."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @pytest.mark.parametrize("inputs", [30, pytest.param(1000, marks=pytest.mark.full)])
        def of_inputs(self: object, tmp_path: Path, inputs: int) -> None:
            @settings(max_examples=inputs)
            @given(st.fixed_dictionaries(strategies))
            def holds(drawn: dict[str, Any]) -> None:
                test(self, tmp_path / "config", **drawn)

            holds()

        of_inputs.__doc__ = test.__doc__
        return of_inputs

    return decorate


def fill(config: Path, files: Mapping[str, bytes]) -> None:
    """Make the config directory again, with these files."""
    shutil.rmtree(config, ignore_errors=True)
    config.mkdir(mode=0o700)
    for name, data in files.items():
        (config / name).write_bytes(data)
        (config / name).chmod(0o600)


def written(action: Callable[[], Any]) -> tuple[Any, str]:
    """Return the result or exit status of an action, and its output."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        try:
            result = action()
        except SystemExit as refused:
            result = refused.code
    return result, stream.getvalue()


class TestWhateverIsThere:
    """Any text may be in any variable or file."""

    @for_any(environ=ANY_ENVIRON, files=ANY_FILES)
    def test_guard_returns_or_refuses_whatever_is_set(
        self, config: Path, environ: dict[str, str], files: dict[str, bytes]
    ) -> None:
        """The guard returns for a good report, and otherwise exits with its status. The gate agrees."""
        fill(config, files)
        with process_environment(environ):
            report = check(config_dir=config)
            outcome, lines = written(lambda: guard(config_dir=config))
            status, document = written(lambda: main(["check", f"--config-dir={config}", "--format=json"]))
        assert (isinstance(outcome, RuntimeSecrets), outcome == REFUSED) == (report.ok, not report.ok)
        assert len(lines.splitlines()) == 2 * len(report.findings) + (not report.ok)
        assert lines.isascii()
        assert (document_of(document)["ok"], status) == (report.ok, EXIT_CLEAN if report.ok else EXIT_ALERTS)
        backwards = dict(reversed(environ.items()))
        assert check(environ=environ, config_dir=config, now=NOW) == check(
            environ=backwards, config_dir=config, now=NOW
        )

    @for_any(environ=ENVIRON, files=st.dictionaries(st.sampled_from(FILES), CONTENT))
    def test_a_defect_hides_no_other_secrets_findings(
        self, config: Path, environ: dict[str, str], files: dict[str, bytes]
    ) -> None:
        """The findings on one secret do not depend on the other secret, unless both share a key."""
        fill(config, files)
        report = check(environ=environ, config_dir=config, now=NOW)
        for index in (0, 1):
            judged, other, names = POLICIES[index], POLICIES[1 - index], NAMES[1 - index]
            fill(config, {name: data for name, data in files.items() if name.removesuffix(".txt") != other.name})
            kept = {name: value for name, value in environ.items() if name not in names}
            alone = check(environ=kept | {other.variable: KEYS[other.variable]}, config_dir=config, now=NOW)
            both = [
                [each for each in found.findings if each.secret in (judged.name, None) and each.check != Check.SHARED]
                for found in (report, alone)
            ]
            assert both[0] == both[1]


def own(name: str) -> Any:
    """Declare a service's secret, with the default policy."""
    days = {"cadence": timedelta(days=90), "warn_before": timedelta(days=14)}
    owners = {"owner": "Us", "backup_owner": "Them"}
    policy = SecretPolicy(name=name, variable=f"OWN_{name.upper()}_KEY", **owners, **days)  # type: ignore[arg-type]
    return Annotated[SecretStr, policy], ...


OWN: Any = create_model("Own", __base__=SecretSettings, **{name: own(name) for name in ("first", "second", "third")})
OWN_POLICIES = tuple(OWN.secret_policies.values())
OWN_KEYS = {policy.variable: secrets.token_urlsafe(32) for policy in OWN_POLICIES}


class TestEverySecretAndSource:
    """Every secret is judged by the same rules, wherever its value comes from."""

    @for_any(
        value=words(*OWN_KEYS.values()), expires=words(), mode=st.sampled_from([0o600, 0o640, 0o644, 0o660, 0o602])
    )
    def test_verdict_is_the_same_for_every_secret_and_source(
        self, config: Path, value: str, expires: str, mode: int
    ) -> None:
        """A text has the same findings as each secret, from a variable and from a file."""
        # A file must hold the value as one line without changes.
        assume(value.isprintable() and value == value.strip() and value[:1] not in {"", "#"} and len(value) < 1000)
        verdicts = []
        for policy in OWN_POLICIES:
            environ = OWN_KEYS | {policy.variable: value, policy.expiry_variable: expires}
            for files in ({}, {policy.name: value.encode()}):
                fill(config, files)
                if files:
                    del environ[policy.variable]
                    (config / policy.name).chmod(mode)
                report = check(OWN, environ=environ, config_dir=config, now=NOW)
                found = [each.check for each in report.findings if each.secret == policy.name]
                verdicts.append([each for each in found if each is not Check.SHARED])
        by_variable, by_file = verdicts[:2]
        assert verdicts == [by_variable, by_file] * 3
        if mode == 0o602:
            assert by_file == [Check.FILE_UNSAFE]
        else:
            lax = [Check.FILE_PERMISSIONS] if mode in {0o644, 0o660} else []
            assert by_file == [*by_variable, Check.FILE_FALLBACK, *lax]


CLASSES = {"a": string.ascii_lowercase, "A": string.ascii_uppercase, "0": string.digits, "f": "abcdef"}
OTHERS = ["-", "\n", " ", '"', "=", "<", ">", "${", "}", "%", "#", "\x1b", "\u202e", "é"]
SHAPES = st.lists(
    st.sampled_from([*CLASSES, *OTHERS]) | st.sampled_from(["a", "A", "0"]), min_size=1, max_size=140
) | st.integers(40, 140).map(lambda length: ([*CLASSES] * length)[:length])


class TestNonInterference:
    """Two values with the same verdict, lengths and times give the same output, byte for byte."""

    @for_any(
        shape=SHAPES,
        where=st.sampled_from([*NAMES[0], *SWITCHES, REVOKED, "file", "stale file", "revocation list", "name"]),
        chance=st.integers().map(Random),  # a drawn seed: a failure can be repeated
    )
    def test_output_depends_only_on_the_verdict_of_a_value(
        self, config: Path, shape: list[str], where: str, chance: Random
    ) -> None:
        """A value in any place only shows its verdict: a variable, a switch, a file, a list or a name."""
        outputs, verdicts = [], []
        for _ in range(2):
            value = "".join(chance.choice(CLASSES[each]) if each in CLASSES else each for each in shape)
            environ, files = dict(KEYS), {}
            if where.endswith("file"):
                files["secret.key"] = value.encode()
                if where == "file":
                    del environ[V1]
            elif where == "revocation list":
                files[REVOKED_FILE] = value.encode()
            else:
                environ[f"{V1}_EXP{value}".replace("=", "") if where == "name" else where] = value
            fill(config, files)
            with process_environment(environ):
                report = check(config_dir=config, now=NOW)
                outputs.append(everything_written(report, str(config)))
            verdicts.append(verdict(report, value))
        assume(verdicts[0] == verdicts[1])
        assert outputs[0] == outputs[1]


def verdict(report: Report, value: str) -> object:
    """Return what may be shown of a value: its checks, its kind, why it is weak, its times and the mode."""
    fired = [(finding.check, finding.secret) for finding in report.findings]
    times = [status.expires_at for status in report.secrets]
    kind = is_hexadecimal(value.strip("\r\n").strip().strip("\"'").rstrip("="))
    why = [weakness(each) for each in (value, *map(str.strip, value.split("\n")))]  # also lines of a file
    return fired, kind, why, times, report.require_env_only


def everything_written(report: Report, config_dir: str | None) -> str:
    """Return the output of a report, the guard and the command line, without fingerprints and the time."""
    text = format_text(report_result(report, passed=report.ok), {"name": "m:M", "source": "option"}, None)
    texts = [repr(report), text]
    texts.append(report_json(report, passed=report.ok, model={}))
    command = ["check", *([f"--config-dir={config_dir}"] if config_dir else [])]
    for action in (lambda: guard(config_dir=config_dir), lambda: main(command)):
        outcome, text = written(action)
        texts += [repr(outcome), text]
    return without_fingerprints("\n".join(texts))


PIECES = st.one_of(
    st.sampled_from([*RECORDS, b"", b"null", b"\0", b"\r"]),
    st.builds(lambda line, size: line[:size], st.sampled_from(RECORDS), st.integers(0, len(RECORDS[1]))),
    st.binary(max_size=20),
)
TAILS = st.lists(st.tuples(PIECES, st.sampled_from([b"\n", b"", b"\r\n"])), max_size=5).map(
    lambda pieces: b"".join(piece + end for piece, end in pieces)
)
LOGS = st.builds(
    bytes.__add__,
    st.sampled_from([b"", *(joined(RECORDS[:count]) for count in range(1, 5))]),
    TAILS | st.binary(max_size=300),
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a log that every example writes."""
    return tmp_path_factory.mktemp("log") / "log.jsonl"


@given(content=LOGS)
def test_any_operations_log(log: Path, content: bytes) -> None:
    """Reading never fails. An append leaves a damaged log unchanged, and keeps every record of any other log."""
    before = read(content)
    log.write_bytes(content)
    head_of(log).unlink(missing_ok=True)
    if before.damage:
        refused(log)
        assert log.read_bytes() == content
        return
    appended = append(log, *some(1))
    after = load(str(log))
    assert log.read_bytes().startswith(content[: len(content) - before.torn])
    assert (after.damage, after.torn, after.records) == ((), 0, (*before.records, *appended))
