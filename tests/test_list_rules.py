"""The checks of the revocation list: the text of each, and both sides of its limits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import pytest
from rule_cases import changed_setup, problems, spelled

from robodj_secretguard import Check
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.file_reader import text_of
from robodj_secretguard.startup.inputs import (
    BELOW_OWNED,
    BELOW_WRITABLE,
    CANNOT_BE_READ,
    CHANGED,
    IN_OWNED,
    IN_WRITABLE,
    NO_TEXT,
    NOT_ALLOWED,
    NOT_UTF_8,
    OWNED,
    TOO_LARGE,
    WRITABLE,
    TextFile,
)
from robodj_secretguard.startup.list_rules import absent_lists, invalid_lines
from robodj_secretguard.startup.readings import MAX_LIST_BYTES, NamedBy
from robodj_secretguard.startup.rules import Problem

REVOKED, LIST = "ROBODJ_REVOKED_FINGERPRINTS", "revoked.fingerprints"


class TestRevocationList:
    """Faults of the revocation list."""

    @pytest.mark.parametrize(
        ("wrong", "entries"),
        [
            (1, "entry 1 of"),
            (2, "entries 1, 2 of"),
            (3, "entries 1, 2, 3 of"),
            (4, "entries 1, 2, 3 and 1 more of"),
            (40, "entries 1, 2, 3 and 37 more of"),
        ],
    )
    def test_first_three_invalid_entries_are_named(self, wrong: int, entries: str) -> None:
        """The first three invalid entries are named, and the others are counted, in the file and the variable."""
        text = "wrong " * wrong
        lines = tuple(map(SealedStr, text.split()))
        file = TextFile(exists=True, lines=lines, numbers=tuple(range(1, wrong + 1)))
        setup = changed_setup(lists=(file,), added=(("environment", SealedStr(text)),))
        in_file, in_variable = problems(Check.REVOCATION_LIST, setup)
        ends = "is not a fingerprint" if wrong == 1 else "are not fingerprints"
        assert in_variable.message == f"{entries} {REVOKED} {ends}"
        lines_of = entries.replace("entry", "line").replace("entries", "lines")
        assert in_file.message == f"{lines_of} {LIST} in config_dir {ends}"

    @pytest.mark.parametrize("named_by", [None, "environment", "argument", "model"])
    def test_no_line_is_too_long(self, named_by: NamedBy | None) -> None:
        """With any number of faults, the two lines have at most 140 and 180 characters."""
        unreadable = (NOT_UTF_8, NOT_ALLOWED, TOO_LARGE.format(MAX_LIST_BYTES), CHANGED)
        every = [each for count in range(4) for each in combinations((WRITABLE, IN_WRITABLE, BELOW_WRITABLE), count)]
        owned = [each for count in range(4) for each in combinations((OWNED, IN_OWNED, BELOW_OWNED), count)]
        files = [
            TextFile(exists=True, unreadable=why, exposed=each)
            for why in ((), *[(each,) for each in unreadable])
            for each in every
        ]
        files += [TextFile(foreign=each) for each in owned]
        files += [
            TextFile(exists=True, lax_paths=lax, foreign=each)
            for lax, each in product(((), (IN_WRITABLE,), (BELOW_WRITABLE,)), owned)
        ]
        for file in files:
            for kind in (Check.REVOCATION_LIST, Check.FILE_PERMISSIONS):
                for each in problems(kind, changed_setup(lists=(file,), directory_named_by=named_by)):
                    assert len(f"WARNING: {kind}: {each.message}") <= 140
                    assert len(f"  fix: {each.remedy}. Owner: Security Operations") <= 180

    def test_unreadable_list_is_restored_first(self) -> None:
        """The fix of an unreadable list is to restore it. The next start reports that others can write it."""
        for exposed in ((), (WRITABLE,), (IN_WRITABLE, BELOW_WRITABLE)):
            file = TextFile(exists=True, unreadable=(NOT_UTF_8,), exposed=exposed)
            (problem,) = problems(Check.REVOCATION_LIST, changed_setup(lists=(file,)))
            assert problem.remedy == f"restore {LIST} in config_dir from version control"

    def test_second_list_is_in_the_directory_of_the_model(self) -> None:
        """Findings about the second list say that it is in the model's directory."""
        exposed = TextFile(
            exists=True, lines=(SealedStr("wrong"),), numbers=(1,), exposed=(IN_WRITABLE,), foreign=(OWNED,)
        )
        dangling = TextFile(dangling=True)
        setup = changed_setup(lists=(dangling, exposed), added=(("environment", SealedStr("wrong")),))
        where = f"{LIST} in the model's config_dir"
        found = problems(Check.REVOCATION_LIST, setup)
        assert [problem.message for problem in found] == [
            f"{LIST} in config_dir is a broken link",
            f"{where} {IN_WRITABLE}",
            f"line 1 of {where} is not a fingerprint",
            f"entry 1 of {REVOKED} is not a fingerprint",
        ]
        assert [problem.message for problem in problems(Check.FILE_PERMISSIONS, setup)] == [f"{where} {OWNED}"]
        assert found[0].remedy == f"restore {LIST} in config_dir from version control"
        assert found[1].remedy == "compare it with version control, then run chmod -R go-w on the model's config_dir"

    @pytest.mark.parametrize(
        ("files", "changes", "absent"),
        [
            ([TextFile()], {}, [f"{LIST} in config_dir is missing"]),
            ([TextFile(), TextFile(exists=True)], {}, [f"{LIST} in the model's config_dir is empty"]),
            ([TextFile(exists=True, empty=False)], {}, []),
            ([TextFile()], {"list_required": False}, []),
            ([TextFile()], {"directory_fault": "does not exist"}, []),
        ],
        ids=range(5),
    )
    def test_required_list_needs_a_line(
        self, files: list[TextFile], changes: dict[str, Any], absent: Sequence[str]
    ) -> None:
        """A required list needs at least one line. If the directory is missing, only that is reported."""
        setup = changed_setup(lists=tuple(files), **{"list_required": True} | changes)
        expected = [
            (
                f"the revocation list {what}, and the model requires one",
                f"restore {what.partition(' is ')[0]} from version control",
            )
            for what in absent
        ]
        assert [(each.message, each.remedy) for each in problems(Check.REVOCATION_LIST, setup)] == expected

    @pytest.mark.parametrize(
        ("file", "what", "fix"),
        [
            (
                TextFile(exists=True, lax_paths=(IN_WRITABLE,), foreign=(OWNED,)),
                f"{LIST} in config_dir {IN_WRITABLE}, and 1 more",
                f"put {LIST} in config_dir into the image, not into a volume that others can write",
            ),
            (
                TextFile(exists=True, foreign=(OWNED,)),
                f"{LIST} in config_dir {OWNED}",
                f"make root or the service's user the owner of {LIST} in config_dir",
            ),
            (
                TextFile(foreign=(IN_OWNED,)),
                f"the path {LIST} in config_dir {IN_OWNED}",
                f"make root or the service's user the owner of the directory of {LIST} in config_dir",
            ),
            (
                TextFile(foreign=(BELOW_OWNED,)),
                f"the path {LIST} in config_dir {BELOW_OWNED}",
                "move the config directory to a path where root owns each directory above it",
            ),
        ],
    )
    def test_owner_of_a_list_is_a_warning(self, file: TextFile, what: str, fix: str) -> None:
        """It is a warning if others can change a list, or the directory of a missing list."""
        (problem,) = problems(Check.FILE_PERMISSIONS, changed_setup(lists=(file,)))
        assert problem == Problem(what, fix, f"file:config/{LIST}")

    @pytest.mark.parametrize(
        ("content", "invalid"),
        [
            ("", []),
            ("# none\n\n", []),
            ("{a}\n{b}", []),
            ("x\n{a}", [1]),
            ("# why\n\n{a} # why\nx\n{b}\n \ny", [4, 7]),
            ("# why\r\n{A}\r\n{a}\r\n", [2]),
            ("\ufeff{a}\nx", [2]),
        ],
    )
    def test_which_lines_are_invalid(self, content: str, invalid: list[int]) -> None:
        """A line that is not a fingerprint is reported by its number in the file."""
        assert invalid_lines(text_of(spelled(content).encode())) == invalid

    @pytest.mark.parametrize(
        ("files", "absent"),
        [
            ([NO_TEXT], (0,)),
            ([TextFile(exists=True)], (0,)),
            ([TextFile(exists=True, empty=False)], ()),
            ([TextFile(exists=True, unreadable=(CANNOT_BE_READ,))], ()),
            ([TextFile(dangling=True)], ()),
            ([NO_TEXT, TextFile(exists=True, empty=False)], ()),
            ([TextFile(exists=True), NO_TEXT], (0, 1)),
        ],
    )
    def test_what_a_model_that_requires_one_finds_absent(self, files: list[TextFile], absent: tuple[int, ...]) -> None:
        """The model's own list must exist, any list must have a line, and an unreadable list has another alert."""
        assert absent_lists(files) == absent
