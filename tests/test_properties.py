"""What holds for any input, whatever Hypothesis thinks of."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import secrets
import shutil
import string
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from command_line import report_json, report_text
from conftest import NOW, V1, good_keys, marker, process_environment
from detector import without_fingerprints
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr, create_model

from robodj_secretguard import Check, RuntimeSecrets, SecretPolicy, SecretSettings, check, guard
from robodj_secretguard.cli import EXIT_ALERTS, EXIT_CLEAN, main
from robodj_secretguard.guard import REFUSED
from robodj_secretguard.material import fingerprint, is_hexadecimal, weakness
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.sources import MAX_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from robodj_secretguard import Report

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
KEYS = good_keys()
SWITCHES = ("ROBODJ_PROTECTED_ENV", "ROBODJ_ALLOW_FILE_SECRET_FALLBACK")
REVOKED, REVOKED_FILE = "ROBODJ_REVOKED_FINGERPRINTS", "revoked.fingerprints"
LISTED = [fingerprint(SealedStr(key)) for key in (*KEYS.values(), *good_keys().values())]

# What an environment can hold: anything but NUL, and bytes that are no text as surrogates.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from("\udc80\udcff")
TEXT = st.text(CHARACTERS, max_size=200)
NAME = st.text(CHARACTERS.filter(lambda character: character != "="), min_size=1, max_size=40)
INSTANTS = st.timedeltas(timedelta(days=-400), timedelta(days=400)).map(marker)


def words(*known: str) -> st.SearchStrategy[str]:
    """Draw text as it is found in variables: anything, or near what is meant."""
    near = st.sampled_from([*known, *KEYS.values(), *LISTED, ",".join(LISTED), "true", "maybe", "changeme", "", " "])
    edited = st.builds(lambda text, at, more: text[:at] + more + text[at + 1 :], near, st.integers(0, 50), TEXT)
    return near | TEXT | edited | INSTANTS


def content() -> st.SearchStrategy[bytes]:
    """Draw what a file may hold."""
    lines = st.lists(words("# comment"), max_size=4).map(
        lambda lines: "\n".join(lines).encode("utf-8", "surrogateescape")
    )
    return lines | st.binary(max_size=300) | st.just(b"a" * (MAX_FILE_BYTES + 1))


def names_of(place: int) -> list[str]:
    """List variables that belong to one secret, and typos of them."""
    policy = POLICIES[place]
    return [
        policy.variable,
        policy.expiry_variable,
        f"{policy.variable}S",
        f"{policy.variable}_EXPIRES",
        f"{policy.variable}_FILE",
    ]


def environ_of(*names: str) -> st.SearchStrategy[dict[str, str]]:
    """Draw variables of these names."""
    return st.dictionaries(st.sampled_from(names), words())


ANY_ENVIRON = st.dictionaries(
    st.sampled_from([*names_of(0), *names_of(1), *SWITCHES, "ROBODJ_CONFIG_DIR", REVOKED, f"{REVOKED}S"]) | NAME,
    words(),
)
ANY_FILES = st.dictionaries(
    st.sampled_from(["secret.key", "secret_v2.key", "secret.key.txt", REVOKED_FILE, f"{REVOKED_FILE}.txt"]), content()
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for fallback files."""
    return tmp_path_factory.mktemp("properties") / "config"


def fill(config: Path, files: Mapping[str, bytes]) -> None:
    """Make the config directory anew, with these files."""
    shutil.rmtree(config, ignore_errors=True)
    config.mkdir(mode=0o700)
    for name, data in files.items():
        (config / name).write_bytes(data)
        (config / name).chmod(0o600)


def written(action: Callable[[], Any]) -> tuple[Any, str]:
    """Return what an action returns, or the status that it ends with, and what it writes."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        try:
            result = action()
        except SystemExit as refused:
            result = refused.code
    return result, stream.getvalue()


class TestWhateverIsThere:
    """Any text in any variable or file."""

    @given(environ=ANY_ENVIRON, files=ANY_FILES)
    def test_the_guard_returns_or_refuses(self, config: Path, environ: dict[str, str], files: dict[str, bytes]) -> None:
        """It returns when the report is good, else ends with its status; the gate and its JSON say the same."""
        fill(config, files)
        with process_environment(environ):
            report = check(config_dir=config)
            outcome, lines = written(lambda: guard(config_dir=config))
            status, document = written(lambda: main(["check", f"--config-dir={config}", "--format=json"]))
        assert (isinstance(outcome, RuntimeSecrets), outcome == REFUSED) == (report.ok, not report.ok)
        assert len(lines.splitlines()) == len(report.findings)
        assert lines.isascii()
        assert (json.loads(document)["ok"], status) == (report.ok, EXIT_CLEAN if report.ok else EXIT_ALERTS)

    @given(environ=ANY_ENVIRON, files=ANY_FILES, order=st.randoms(use_true_random=False))
    def test_the_same_input_gives_the_same_report(
        self, config: Path, environ: dict[str, str], files: dict[str, bytes], order: Random
    ) -> None:
        """Whatever the order of the environment."""
        fill(config, files)
        shuffled = list(environ.items())
        order.shuffle(shuffled)
        reports = [check(environ=each, config_dir=config, now=NOW) for each in (environ, dict(shuffled))]
        assert reports[0] == reports[1]

    @pytest.mark.parametrize("place", [0, 1])
    @given(data=st.data())
    def test_a_defect_hides_no_other_secrets_findings(self, config: Path, place: int, data: st.DataObject) -> None:
        """What is said of one secret is the same whatever is wrong with the other, but that they are one key."""
        judged, other = POLICIES[place], POLICIES[1 - place]
        common = data.draw(environ_of(*SWITCHES, REVOKED)) | data.draw(environ_of(*names_of(place)))
        files = data.draw(st.dictionaries(st.sampled_from([judged.name, REVOKED_FILE]), content()))
        defects = data.draw(environ_of(*names_of(1 - place)))
        more = data.draw(st.dictionaries(st.sampled_from([other.name, f"{other.name}.txt"]), content()))

        def findings(environ: Mapping[str, str], files: Mapping[str, bytes]) -> list[object]:
            fill(config, files)
            report = check(environ=environ, config_dir=config, now=NOW)
            about = (judged.name, None)
            return [each for each in report.findings if each.secret in about and each.check is not Check.SHARED]

        alone = findings(common | {other.variable: KEYS[other.variable]}, files)
        assert findings(common | defects, files | more) == alone


def own(name: str) -> Any:
    """Declare a secret of a service's own, under the default policy."""
    days = {"cadence": timedelta(days=90), "warn_before": timedelta(days=14)}
    owners = {"owner": "Us", "backup_owner": "Them"}
    policy = SecretPolicy(name=name, variable=f"OWN_{name.upper()}_KEY", **owners, **days)  # type: ignore[arg-type]
    return Annotated[SecretStr, policy], ...


OWN: Any = create_model("Own", __base__=SecretSettings, **{name: own(name) for name in ("first", "second", "third")})
OWN_KEYS = {policy.variable: secrets.token_urlsafe(32) for policy in OWN.secret_policies.values()}


class TestEverySecretAndSource:
    """Every secret is judged by the same rules, wherever its value comes from."""

    @given(value=words(*OWN_KEYS.values()), expires=words(), mode=st.sampled_from([0o600, 0o640, 0o644, 0o660, 0o602]))
    def test_the_verdict_is_the_same(self, config: Path, value: str, expires: str, mode: int) -> None:
        """The same text gets the same findings as each secret, from a variable and from a file."""
        # What a file holds as one line, as it is.
        assume(value.isprintable() and value == value.strip() and value[:1] not in {"", "#"} and len(value) < 1000)
        verdicts = []
        for policy in OWN.secret_policies.values():
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

    @given(
        listed=st.lists(st.sampled_from([*OWN_KEYS.values(), "another"]), max_size=6),
        in_file=st.lists(st.booleans(), min_size=6, max_size=6),
        by_file=st.sampled_from([None, *OWN_KEYS]),
    )
    def test_a_revoked_key(self, config: Path, listed: list[str], in_file: list[bool], by_file: str | None) -> None:
        """A secret is revoked when its key is on either list, and only then, wherever its key comes from."""
        entries = [fingerprint(SealedStr(key)) for key in listed]
        environ, files = dict(OWN_KEYS), {}
        environ[REVOKED] = ",".join(entry for entry, there in zip(entries, in_file, strict=False) if not there)
        files[REVOKED_FILE] = "\n".join(entry for entry, there in zip(entries, in_file, strict=False) if there).encode()
        for policy in OWN.secret_policies.values():
            if policy.variable == by_file:
                files[policy.name] = environ.pop(policy.variable).encode()
        fill(config, files)
        report = check(OWN, environ=environ, config_dir=config, now=NOW)
        revoked = [policy.name for policy in OWN.secret_policies.values() if OWN_KEYS[policy.variable] in listed]
        assert [(each.check, each.secret) for each in report.alerts] == [(Check.REVOKED, name) for name in revoked]
        assert report.revocation_list is not None
        assert report.revocation_list.entries == len(set(entries))

    @pytest.mark.parametrize("places", list(itertools.product(["variable", "file"], repeat=2)), ids="-".join)
    def test_one_key_for_two(self, config: Path, places: tuple[str, str]) -> None:
        """Two secrets that are one are found wherever each of them comes from, on the later one."""
        for pair in itertools.combinations(OWN.secret_policies.values(), 2):
            key, environ, files = secrets.token_urlsafe(32), dict(OWN_KEYS), {}
            for policy, place in zip(pair, places, strict=True):
                environ[policy.variable] = key
                if place == "file":
                    files[policy.name] = environ.pop(policy.variable).encode()
            fill(config, files)
            report = check(OWN, environ=environ, config_dir=config, now=NOW)
            assert [each.secret for each in report.alerts if each.check is Check.SHARED] == [pair[1].name]


def filled(shape: list[str], chance: Random) -> str:
    """Fill a shape: each class of characters with one of them, and what is no class as it is."""
    classes = {"a": string.ascii_lowercase, "A": string.ascii_uppercase, "0": string.digits, "f": "abcdef"}
    return "".join(chance.choice(classes[each]) if each in classes else each for each in shape)


SHAPES = st.lists(
    st.sampled_from(
        ["a", "A", "0", "f", "-", "\n", " ", '"', "=", "<", ">", "${", "}", "%", "#", "\x1b", "\u202e", "é"]
    )
    | st.sampled_from(["a", "A", "0"]),
    min_size=1,
    max_size=140,
) | st.integers(40, 140).map(lambda length: (["a", "A", "0", "f"] * length)[:length])


class TestNonInterference:
    """Two values with the same verdict, lengths and times give the same output, byte for byte."""

    @given(
        shape=SHAPES,
        where=st.sampled_from(
            [*names_of(0), *SWITCHES, "ROBODJ_CONFIG_DIR", REVOKED, "file", "stale file", "revocation list", "name"]
        ),
        chance=st.integers().map(Random),  # so that what failed can be run again
    )
    def test_of_one_value(self, config: Path, shape: list[str], where: str, chance: Random) -> None:
        """Wherever it is put: in a variable, a marker, a switch, a path, a file, a revocation list or a name."""
        outputs, verdicts = [], []
        for _ in range(2):
            value = filled(shape, chance)
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
                named = () if where == "ROBODJ_CONFIG_DIR" else (f"--config-dir={config}",)
                report = check(config_dir=config if named else None, now=NOW)
                outputs.append(everything_written(report, named))
            verdicts.append(verdict(report, value))
        assume(verdicts[0] == verdicts[1])
        assert outputs[0] == outputs[1]


def verdict(report: Report, value: str) -> object:
    """Return what may be said of a value: which checks fire, its kind, why it is weak, its times and the mode."""
    fired = [(finding.check, finding.secret) for finding in report.findings]
    times = [status.expires_at for status in report.secrets]
    kind = is_hexadecimal(value.strip("\r\n").strip().strip("\"'").rstrip("="))
    why = [weakness(each) for each in (value, *map(str.strip, value.split("\n")))]  # of a file's line too
    return fired, kind, why, times, report.require_env_only


def everything_written(report: Report, named: tuple[str, ...]) -> str:
    """Return what a report, the guard and the command line write, less fingerprints and the time."""
    texts = [
        repr(report),
        report_text(report, passed=report.ok, model="model: m:M"),
        report_json(report, passed=report.ok, model={}),
    ]
    config_dir = named[0].partition("=")[2] if named else None
    for action in (lambda: guard(config_dir=config_dir), lambda: main(["check", *named])):
        outcome, text = written(action)
        texts += [repr(outcome), text]
    return without_fingerprints("\n".join(texts))


class TestRepetition:
    """`weak`: a block repeated with a period of at most half the length."""

    BLOCK = "aB3dE6gH9jK2mN5pQ"

    @given(
        order=st.lists(st.sampled_from([BLOCK, f"{BLOCK}-", BLOCK[::-1], "r"]), min_size=2, max_size=8),
        cut=st.integers(0, 20),
    )
    def test_it_is_found_wherever_it_is(self, order: list[str], cut: int) -> None:
        """Found if and only if the text is itself when it is moved by such a period."""
        text = "".join(order)[cut:]
        assume(len(set(text)) >= 16)  # fewer are weak for that reason
        repeats = any(text[period:] == text[: len(text) - period] for period in range(1, len(text) // 2 + 1))
        assert (weakness(text) == "it repeats one block") == repeats
