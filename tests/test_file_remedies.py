"""The fixes of unsafe files, and the commands in them."""

from __future__ import annotations

from itertools import product

import pytest
from conftest import V1

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.startup.file_remedies import chmod, how_to_correct_file
from robodj_secretguard.startup.inputs import (
    BELOW_WRITABLE,
    CANNOT_BE_READ,
    CHANGED,
    IN_WRITABLE,
    NOT_ALLOWED,
    NOT_REGULAR,
    NOT_UTF_8,
    TOO_LARGE,
    WRITABLE,
    TextFile,
)
from robodj_secretguard.startup.readings import MAX_FILE_BYTES, NamedBy, shown_path

POLICIES = tuple(RuntimeSecrets.secret_policies.values())
ABOVE = "run namei -l {}, then chmod o-w where the mode ends in rwx"
SET = f"set {V1} from the secret manager"
COMPARE = "compare its value with the secret manager"
OWNER = "make the service's user the owner of config/secret.key (mode 600) and let it enter each directory above"


@pytest.mark.parametrize(
    ("unreadable", "exposed", "fix"),
    [
        ([NOT_UTF_8], [], "save config/secret.key as UTF-8, with mode 600, without changing its value"),
        ([CHANGED], [], "start again; if this repeats, stop the program that writes config/secret.key"),
        ([NOT_ALLOWED], [], OWNER),
        ([NOT_REGULAR], [], f"{SET}, then delete config/secret.key"),
        ([CANNOT_BE_READ], [], SET),
        ([TOO_LARGE.format(MAX_FILE_BYTES)], [], "leave only the value in config/secret.key"),
        ([], [WRITABLE], f"{COMPARE}, then run chmod 600 config/secret.key"),
        ([], [IN_WRITABLE], f"{COMPARE}, then run chmod -R go-w config"),
        ([], [WRITABLE, IN_WRITABLE], f"{COMPARE}, then run chmod -R go-w config"),
        ([NOT_UTF_8], [WRITABLE], SET),
        ([NOT_REGULAR], [WRITABLE, BELOW_WRITABLE], SET),
    ],
)
def test_the_fix_of_an_unsafe_file(unreadable: list[str], exposed: list[str], fix: str) -> None:
    """Each fault has a separate fix. The fix of a file that others could write does not trust its key."""
    file = TextFile(exists=True, unreadable=tuple(unreadable), exposed=tuple(exposed))
    assert how_to_correct_file(file, "config/secret.key", None, POLICIES[0]) == fix


@pytest.mark.parametrize("named_by", [None, "environment", "argument", "model"])
def test_no_fix_is_too_long(named_by: NamedBy | None) -> None:
    """The line of the fix has at most 180 characters for every fault of a file."""
    whys = (NOT_UTF_8, CHANGED, NOT_ALLOWED, NOT_REGULAR, CANNOT_BE_READ, TOO_LARGE.format(MAX_FILE_BYTES))
    for why, exposed in product(((), *[(each,) for each in whys]), ((), (IN_WRITABLE,), (BELOW_WRITABLE,))):
        file = TextFile(exists=True, unreadable=why, exposed=exposed)
        remedy = how_to_correct_file(file, shown_path(POLICIES[1].file, named_by), named_by, POLICIES[1])
        assert len(f"  fix: {remedy}. Owner: {POLICIES[1].owner}") <= 180


@pytest.mark.parametrize(
    ("exposed", "named_by", "fix"),
    [
        ([WRITABLE], None, "run chmod go-w config/x"),
        ([WRITABLE], "environment", 'run chmod go-w "$ROBODJ_CONFIG_DIR/x"'),
        ([IN_WRITABLE], None, "run chmod -R go-w config"),
        ([WRITABLE, IN_WRITABLE], "environment", 'run chmod -R go-w "$ROBODJ_CONFIG_DIR"'),
        ([IN_WRITABLE], "argument", "run chmod -R go-w on config_dir"),
        ([IN_WRITABLE], "model", "run chmod -R go-w on the model's config_dir"),
        ([WRITABLE], "argument", "run chmod go-w on x in config_dir"),
        ([BELOW_WRITABLE], "model", ABOVE.format("on the file")),
        ([WRITABLE, IN_WRITABLE, BELOW_WRITABLE], None, ABOVE.format('"$PWD/config/x"')),
        ([BELOW_WRITABLE], "environment", ABOVE.format('"$ROBODJ_CONFIG_DIR/x"')),
    ],
)
def test_the_command(exposed: list[str], named_by: NamedBy | None, fix: str) -> None:
    """The command fixes the highest fault first: a directory above, the directory, the file."""
    assert chmod(TextFile(exposed=tuple(exposed)), shown_path("config/x", named_by), named_by) == fix
