"""Helper programs: `exec:PROGRAM`."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from pathlib import Path

import pytest
from conftest import V1, V2, Failure, failure_of, posix_only, raising, root_only
from stores import COMPARING, POLICIES, SECONDS, SIMPLE, fields_in, found_in, helper_at, new_text, refusal, versions_of
from stores import write as write_to

from robodj_secretguard import RuntimeSecrets
from robodj_secretguard.managers import helper
from robodj_secretguard.managers.manager import ABSENT, CONFLICT, load_sources, open_store
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.directory import MAX_BYTES

pytestmark = posix_only
ANSWER = "printf '%s' '{\"fields\": {}}'"


def failure_at_get(directory: Path, script: str) -> Failure:
    """Return the failure of a read from a program."""
    store = helper_at(directory, script)
    return failure_of(lambda: store.within(SECONDS, store.current))


class TestReadAndWrite:
    """Fields, versions and comparison."""

    @pytest.mark.parametrize("script", [SIMPLE, COMPARING], ids=["simple", "comparing"])
    def test_what_is_written_is_read(self, tmp_path: Path, script: str) -> None:
        """Every field comes back, and a write replaces all of them."""
        store = helper_at(tmp_path, script)
        assert found_in(store) is ABSENT
        write_to(store, {"A": "'\"$x\\\n\u00e9", "B": new_text()})
        write_to(store, {"B": None, "C": 1})
        assert fields_in(store) == {"A": "'\"$x\\\n\u00e9", "C": 1}

    def test_a_write_from_an_old_version_is_a_conflict(self, tmp_path: Path) -> None:
        """A write is refused where the version, or without versions the content, is another one by now."""
        for name, script in (("one", SIMPLE), ("other", COMPARING)):
            (tmp_path / name).mkdir()
            store = helper_at(tmp_path / name, script)
            write_to(store, {"A": "1"})
            old = found_in(store)
            write_to(store, {"A": "2"})
            assert refusal(store, {"A": "3"}, old) == Failure(*CONFLICT)
            assert refusal(store, {"A": "3"}, ABSENT) == Failure(*CONFLICT)
            assert fields_in(store) == {"A": "2"}

    def test_the_program_refuses_what_another_machine_has_changed(self, tmp_path: Path) -> None:
        """Status 73 of `set` is a conflict, and 69 and 77 mean that nothing was written."""
        for status, what in ((73, CONFLICT[0]), (69, "cannot do set (status 69)"), (77, "was refused at set")):
            store = helper_at(tmp_path, f'[ "$1" = get ] || exit {status}\n{ANSWER}')
            assert refusal(store, {"A": "1"}).what.startswith(what)

    def test_versions(self, tmp_path: Path) -> None:
        """A program that keeps versions names them, and returns each one."""
        store = helper_at(tmp_path, COMPARING)
        write_to(store, {"A": "1"})
        write_to(store, {"A": "2"})
        assert versions_of(store) == [{"A": "2"}, {"A": "1"}]
        assert versions_of(helper_at(tmp_path, ANSWER)) == []

    def test_without_comparison_the_operator_says_that_nobody_else_writes(self, tmp_path: Path) -> None:
        """A program without versions is written again only with `--single-writer`."""
        store = helper_at(tmp_path, SIMPLE, single_writer=False)
        write_to(store, {"A": "1"})
        assert refusal(store, {"A": "2"}).fix.startswith("add --single-writer")
        assert fields_in(store) == {"A": "1"}

    def test_the_version_of_set_is_that_of_get(self, tmp_path: Path) -> None:
        """`set` gets the version that `get` gave, null where nothing was there, and none where there is none."""
        seen = "cat >new; cat new >>seen; echo >>seen; mv new store"
        for answers, expected in (("", [None, 1]), (', "version": "7"', ["7"]), (', "version": null', [1])):
            (tmp_path / "seen").write_text("")
            there = f'printf \'%s\' \'{{"fields": {{"A": "1"}}{answers}}}\'' if answers else "cat store || exit 66"
            store = helper_at(tmp_path, f'[ "$1" = get ] || {{ {seen}; exit; }}\n{there}')
            write_to(store, {"A": "1"})
            if not answers:
                (tmp_path / "store").write_text('{"fields": {"A": "1"}}')
                write_to(store, {"A": "1"})
            lines = (tmp_path / "seen").read_text().splitlines()
            assert [json.loads(line).get("version", 1) for line in lines] == expected

    def test_it_is_a_source_of_from(self, tmp_path: Path) -> None:
        """`--from exec:PROGRAM` delivers the fields."""
        store = helper_at(tmp_path)
        key = new_text()
        write_to(store, {V1: key})
        (delivery,) = load_sources([store.name], RuntimeSecrets).deliveries
        assert delivery.get(V1) == SealedStr(key)


class TestFailures:
    """What a program does wrong."""

    @pytest.mark.parametrize(
        ("script", "failure"),
        [
            ("exit 66", "has nothing there"),
            ("exit 69", "cannot do get (status 69)"),
            ("exit 73", "failed at get (status 73)"),
            ("exit 75", "is not available at get (status 75)"),
            ("exit 77", "was refused at get: the login is not valid (status 77)"),
            ("exit 1", "failed at get (status 1)"),
            ("kill -9 $$", "was ended by a signal at get (status -9)"),
            ("true", "is empty"),
            ("echo no", "is not a JSON object"),
            ("echo '{}'", "printed no object with the name fields"),
            ("""echo '{"fields": {}, "version": 7}'""", "has a version that is not a short text"),
            (
                """echo '{"fields": {"A": "x2345678"}, "version": "x2345678"}'""",
                "has a version that is not a short text",
            ),
            (f"head -c {MAX_BYTES + 1} /dev/zero", "printed more than 1048576 bytes"),
        ],
    )
    def test_an_answer_that_cannot_be_used(self, tmp_path: Path, script: str, failure: str) -> None:
        """Each status and each bad answer has a sentence of its own. Only 75 is temporary."""
        found = failure_at_get(tmp_path, script)
        assert (found.what, found.is_temporary) == (failure, "75" in script)

    def test_versions_that_are_no_list(self, tmp_path: Path) -> None:
        """Versions are a list of short texts."""
        store = helper_at(tmp_path, """echo '{"fields": {}, "versions": 7}'""")
        assert failure_of(store.versions).what == "has versions that are not a list of short texts"

    def test_a_program_that_cannot_be_run(self, tmp_path: Path) -> None:
        """A path that leads nowhere, and a file that is no program, are failures."""
        store = helper_at(tmp_path)
        (tmp_path / "keys").write_bytes(b"\0")
        assert failure_of(store.current).fix == "make it a program that this user may run"
        (tmp_path / "keys").unlink()
        assert failure_of(store.current).fix == "correct the path after exec:"

    def test_a_program_that_does_not_end_is_ended_with_its_children(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After the time limit, the program and its children are killed."""
        monkeypatch.setattr(helper, "RUN_SECONDS", 0.3)
        store = helper_at(tmp_path, "sleep 600 & echo $! >child; wait")
        found = failure_of(store.current)
        assert (found.what, found.is_temporary) == ("did not end within 0.3 s", True)
        child = int((tmp_path / "child").read_text())
        while os.path.exists(f"/proc/{child}"):  # until its new parent has reaped it
            if " Z " in Path(f"/proc/{child}/stat").read_text():
                break
            time.sleep(0.01)

    def test_reading_ends_when_the_program_does(self, tmp_path: Path) -> None:
        """A process that the program leaves behind may keep the output open, and lives on."""
        store = helper_at(tmp_path, f"sleep 600 & echo $! >child; {ANSWER}")
        assert found_in(store).opened() == {}
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)

    def test_a_set_that_is_ended_too_late_may_have_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a `set` without an answer, what is there decides."""
        monkeypatch.setattr(helper, "RUN_SECONDS", 0.5)
        late = SIMPLE.replace("mv new store", "mv new store; sleep 600")
        write_to(helper_at(tmp_path, late), {"A": "1"})
        assert refusal(helper_at(tmp_path, SIMPLE.replace("cat >new", "sleep 600")), {"A": "2"}).what == (
            "did not end within 0.5 s"
        )
        assert refusal(helper_at(tmp_path, late.replace("mv", "rm -f store; exit 1 ||")), {"A": "2"}).what == (
            "failed at set (status 1)"
        )

    def test_a_read_after_the_write_that_fails(self, tmp_path: Path) -> None:
        """Where nobody knows whether something was written, the failure says so."""
        broken = SIMPLE.replace("get) ", "get) [ ! -f broken ] || exit 1; ").replace("mv new store", "touch broken")
        assert refusal(helper_at(tmp_path, broken), {"A": "1"}).what == (
            "may have been written: the read after it failed (failed at get (status 1))"
        )

    def test_a_program_that_writes_something_else(self, tmp_path: Path) -> None:
        """A `set` that ends with 0 and has not written is a failure, also if it does not read its input."""
        store = helper_at(tmp_path, ANSWER)
        assert refusal(store, {"A": "x" * 1_000_000}).what == "has other fields than this command has written"

    def test_fields_that_no_pipe_can_hold(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the system allows no pipe that is large enough, nothing is written and no program is run."""
        store = helper_at(tmp_path)
        monkeypatch.setattr("fcntl.fcntl", raising(PermissionError()))
        assert refusal(store, {"A": "x" * 1_000_000}).what == "cannot be used: its input is too large for a pipe"

    def test_a_system_without_large_pipes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """MacOS has no call for the size of a pipe. What fits into a usual one is written."""
        store = helper_at(tmp_path)
        monkeypatch.delattr("fcntl.F_SETPIPE_SZ")
        write_to(store, fields := {"A": new_text()})
        assert fields_in(store) == fields
        assert refusal(store, {"A": "x" * 1_000_000}).what == "cannot be used: its input is too large for a pipe"


class TestSafety:
    """What a program gets, and who could have changed it."""

    def test_its_environment_has_no_declared_secret(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment is the caller's without declared secrets, and without what loads other code."""
        monkeypatch.setenv("PATH", f"bin::{os.environ['PATH']}:.")
        taken = {V1: "a", f"{V2}_NEXT": "b", "LD_AUDIT": "", "PYTHONPATH": "x"}
        for name, text in {**taken, "OTHER": "x"}.items():
            monkeypatch.setenv(name, text)
        helper_at(tmp_path, f"env >seen; pwd >where; tty </dev/tty; {ANSWER}").current()
        seen = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines())
        assert (seen.keys() & taken.keys(), seen["OTHER"]) == (set(), "x")
        assert all(map(os.path.isabs, seen["PATH"].split(":")))
        assert (tmp_path / "where").read_text().strip() == str(tmp_path)

    def test_its_errors_are_not_shown(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        """The program's stderr is shown only for `store check --show-errors`."""
        store = helper_at(tmp_path, f"echo oops >&2; {ANSWER}")
        store.current()
        assert capfd.readouterr().err == ""
        store.show_errors = True
        store.current()
        assert capfd.readouterr().err == "oops\n"

    def test_it_has_no_terminal_and_its_own_session(self, tmp_path: Path) -> None:
        """The program leads a session without a terminal, and its stdin is a pipe."""
        store = helper_at(tmp_path, f"ps -o sid= -p $$ >sid; echo $$ >pid; [ -p /dev/stdin ] && touch pipe; {ANSWER}")
        store.current()
        assert int((tmp_path / "sid").read_text()) == int((tmp_path / "pid").read_text())
        assert (tmp_path / "pipe").exists()

    @pytest.mark.parametrize("which", ["program", "directory", "link"])
    def test_what_others_may_write_is_not_run(self, tmp_path: Path, which: str) -> None:
        """A program, or a directory on the way, that the group or others may write is not run."""
        place = tmp_path / "bin"
        place.mkdir()
        helper_at(place)
        way = tmp_path / "way"
        way.symlink_to(place)
        changeable = {"program": place / "keys", "directory": place, "link": place}[which]
        changeable.chmod(0o775)
        store = open_store(f"exec:{way if which == 'link' else place}/keys", POLICIES)
        found = failure_of(store.current)
        assert found.what == f"is not run: others own or may write {changeable}"
        assert failure_of(lambda: store.write(SealedStr("{}"), ABSENT)) == found

    @root_only
    def test_what_another_user_owns_is_not_run(self, tmp_path: Path) -> None:
        """For root, each owner is root."""
        store = helper_at(tmp_path)
        os.chown(tmp_path / "keys", 65534, 65534)
        assert failure_of(store.current).what.startswith("is not run: others own")

    def test_a_held_lock(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another process that holds the lock of the program is waited for, within a limit."""
        monkeypatch.setattr("robodj_secretguard.common.files.LOCK_SECONDS", 0)
        store = helper_at(tmp_path)
        with (tmp_path / "keys").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert refusal(store, {"A": "1"}).what == "was not written: another process holds the lock; try again"

    def test_no_argument_and_no_environment_has_a_key(self, tmp_path: Path) -> None:
        """Keys go through pipes alone: the arguments and the environment of the program have none."""
        look = "tr '\\0' '\\n' </proc/$$/cmdline >>seen; cat /proc/$$/environ >>seen\n"
        store = helper_at(tmp_path, look + COMPARING.replace("exec ", "", 1))
        key = new_text()
        write_to(store, {V1: key})
        write_to(store, {V1: new_text()})
        assert key not in (tmp_path / "seen").read_text(errors="replace")
