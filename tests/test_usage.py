"""Usage errors: each explains what is wrong, suggests a known word, and does not repeat the input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robodj_secretguard.cli.app import _parse_arguments
from robodj_secretguard.cli.output import fail_unknown
from robodj_secretguard.errors import SecretGuardError, UsageError

COMMANDS = (
    "(choose from init, check, exec, status, generate, rotate, store, revoke, log, fleet, incident, scan, explain)"
)
OF_CHECK = (
    "--help, --from, --wait, --require-env-only, --config-dir, --model, --strict, --format, --operations-log, --color"
)
OF_PLAN = (
    "--help, --from, --wait, --environment, --operator, --single-writer, --ticket, --operations-log, --config-dir,"
    " --model, --format, --color, --emergency, --key-from, --fingerprint, --roster, --prometheus, --events"
)
SEE = "see robodj-secretguard"
STEPS = "plan, record, stage, promote, retire, back, run, put, restore"
AFTER = "; the options of a command go after it"
UNEXPECTED = "unexpected argument"
TYPED = "Zq9"
"""A part of the input, which is a part of no known word."""


def error_for(words: str) -> str:
    """Return the usage error for some words."""
    with pytest.raises(UsageError) as raised:
        _parse_arguments(words.split(" "))
    return str(raised.value)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("chek", f"unknown command; did you mean check? {COMMANDS}"),
        ("CHECK", f"unknown command; did you mean check? {COMMANDS}"),
        ("chek --strict", f"unknown command; did you mean check? {COMMANDS}"),
        ("rotate plna --x", f"unknown command; did you mean plan? (choose from {STEPS})"),
        (TYPED, f"unknown command {COMMANDS}"),
        (
            "rotate recrod",
            f"unknown command; did you mean record? (choose from {STEPS})",
        ),
        (f"log {TYPED}", "unknown command (choose from show, verify)"),
    ],
)
def test_command(words: str, why: str) -> None:
    """An unknown command lists the commands."""
    assert error_for(words) == why


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("check --fromat json", f"unknown option; did you mean --format? (choose from {OF_CHECK})"),
        ("check --stric", f"unknown option; did you mean --strict? (choose from {OF_CHECK})"),
        ("check --config_dir=x", f"unknown option; did you mean --config-dir? (choose from {OF_CHECK})"),
        ("check --req", f"unknown option; did you mean --require-env-only? (choose from {OF_CHECK})"),
        ("check -m json", f"unknown option; did you mean --model? (choose from {OF_CHECK})"),
        ("rotate plan --o Ada x", f"unknown option (choose from {OF_PLAN})"),
        ("check -strict", f"unknown option; did you mean --strict? (choose from {OF_CHECK})"),
        (f"check --{TYPED}={TYPED}", f"unknown option (choose from {OF_CHECK})"),
        ("check -x", f"unknown option (choose from {OF_CHECK})"),
        (f"check --model -{TYPED}", f"unknown option (choose from {OF_CHECK})"),
        ("--vers", f"unknown option{AFTER}; did you mean --version? (choose from --help, --version)"),
        ("--format json check", f"unknown option{AFTER} (choose from --help, --version)"),
        (f"-{TYPED}", f"unknown option{AFTER} (choose from --help, --version)"),
        ("rotate --attest startup record", f"unknown option{AFTER} (choose from --help)"),
    ],
)
def test_option(words: str, why: str) -> None:
    """An unknown option names the nearest option, and all of them. A prefix of one option counts as near. Where a
    command is expected, the place of its options is named.
    """
    assert error_for(words) == why


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("check --format jsn", "--format: invalid value; did you mean json? (choose from text, json)"),
        (f"check --format={TYPED}", "--format: invalid value (choose from text, json)"),
        ("check --format", "--format needs a value (choose from text, json)"),
        ("check --model", "--model needs a value; write --model=MODULE:CLASS"),
        ("check --model --strict", "--model needs a value; write --model=MODULE:CLASS"),
        ("check --strict=yes", "--strict takes no value; leave out = and the text after it"),
        ("check --help=yes", "--help takes no value; leave out = and the text after it"),
    ],
)
def test_value(words: str, why: str) -> None:
    """A missing or an invalid value names its option, and the choices where there are any."""
    assert error_for(words) == why


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("check json", f"check: {UNEXPECTED}; {SEE} check --help"),
        ("check -", f"check: {UNEXPECTED}; {SEE} check --help"),
        ("check --=x", f"check: {UNEXPECTED}; {SEE} check --help"),
        ("check -5x", f"check: {UNEXPECTED}; {SEE} check --help"),
        ("rotate plan a b", f"rotate plan: {UNEXPECTED}; {SEE} rotate plan --help"),
        ("scan a --staged b", f"scan: {UNEXPECTED} (write all arguments in one place); {SEE} scan --help"),
        ("scan a b --staged=x", "--staged takes no value; leave out = and the text after it"),
        (
            "exec --strict true",
            f"exec: {UNEXPECTED}; write the command after --: robodj-secretguard exec [options] -- COMMAND ...",
        ),
        ("rotate plan", f"rotate plan needs NAME; {SEE} rotate plan --help"),
        ("rotate retire a", f"rotate retire needs --to SOURCE; {SEE} rotate retire --help"),
    ],
)
def test_argument(words: str, why: str) -> None:
    """An extra argument is reported with the help or the right place, and a missing one by its name."""
    assert error_for(words) == why


def test_unknown() -> None:
    """Other known words are suggested, and not listed as choices."""
    with pytest.raises(UsageError, match=r"^unknown word; did you mean b-key\? \(choose from a\)$"):
        fail_unknown("unknown word", "B_KEY", ["a"], ["b-key"])


WORDS = st.sampled_from([
    *("check", "exec", "rotate", "record", "plan", "scan", "log", "show", "chek", "recrod"),
    *("--format", "--strict", "--model", "--attest", "--event", "--operator", "--environment", "--git-history"),
    *("--format=json", "--strict=", "--model=", "--formt", "-h", "-hh", "--version", "--operator=Ada"),
    *("json", "startup", "prod", "-", "", "-5", "-5x", "-x y"),
    *(f"-{TYPED}", f"--{TYPED}={TYPED}", TYPED, f"--format={TYPED}"),
])  # fmt: skip


@given(st.lists(WORDS, max_size=6))
def test_every_refusal(words: list[str]) -> None:
    """Every error of argparse, on any Python, is explained in one line of ASCII without the input."""
    try:
        _parse_arguments(words)
    except UsageError as error:
        text = str(error)
        assert (text.isascii(), text.isprintable(), TYPED in text, " : " in text) == (True, True, False, False)
    except SecretGuardError:
        pass  # the help or the version
