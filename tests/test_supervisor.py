"""`exec --watch` with real processes, and a real directory of keys."""

from __future__ import annotations

import contextlib
import os
import pty
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, V1, V2, clean_environment, good_keys, put
from processes import GOOD, needs_fork, run_copy
from watched import BAD, EXPIRES, REVOKED, SERVE, Mounted, fingerprints, given, is_running, new_set, watched

from robodj_secretguard import RuntimeSecrets, check
from robodj_secretguard.cli import supervisor
from robodj_secretguard.cli.options import Request
from robodj_secretguard.cli.watch import Candidate
from robodj_secretguard.startup.report import Finding
from robodj_secretguard.startup.rules import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


pytestmark = needs_fork

WATCHES = "robodj-secretguard: watches directory:mounted, every 9 s\n"
KEPT = "ALERT: robodj-secretguard kept the command on its last good keys: "

SLOW = """
trap 'trap "" TERM; echo term; while [ ! -e go ]; do sleep 0.02; done; exit 6' TERM
echo start
while :; do sleep 0.02 & wait $!; done
"""
"""A shell command that ends with 6 after SIGTERM, when the file `go` exists."""


def gate(cwd: Path, argv: Sequence[str], before: str = "") -> tuple[int, str]:
    """Run a command in a fork of this process, and return its status and stderr."""
    script = f"import os, signal, sys\nfrom robodj_secretguard.cli import main\n{before}\nsys.exit(main({[*argv]!r}))\n"
    ran = run_copy(script, {}, cwd, secret=())
    return ran.status, ran.err


def supervising(report_of: Callable[..., Any]) -> supervisor.Supervisor:
    """Return a supervisor of a good set, which starts no command."""
    report, managers = check(environ=GOOD), [given(GOOD)]
    return supervisor.Supervisor(Request(), [], RuntimeSecrets, report, managers, report_of=report_of, settings={})


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    """A mounted directory with a first set of keys."""
    mounted = Mounted(tmp_path)
    mounted.publish(new_set())
    return mounted


class TestProcesses:
    """The processes of a watch."""

    def test_windows(self, tmp_path: Path) -> None:
        """On Windows, nothing is restarted gracefully."""
        argv = ["exec", "--watch", "1", "--from", "directory:x", "--", "touch", "started"]
        ran = gate(tmp_path, argv, "os.name = 'nt'")
        why = "--watch: this platform cannot restart a command gracefully; restart the service after each change"
        assert ran == (2, f"robodj-secretguard: {why}\n")

    def test_a_bad_set_and_a_good_one(self, mounted: Mounted) -> None:
        """A bad set changes nothing. A good one restarts the command, with its variables and no earlier ones."""
        mounted.publish(new_set() | {f"{V1}_NEXT": good_keys()[V1]})
        with watched(mounted, script=f'echo "next ${{{V1}_NEXT:+is set}}"{SERVE}') as running:
            running.until("^next is set")
            first = running.until("^start ([0-9]+)")[1]
            mounted.publish(new_set() | BAD)
            running.until(f"^{KEPT}1 alert")
            assert is_running(int(first))
            mounted.publish(new_set() | BAD)
            running.until(f"^{KEPT}1 alert")
            assert running.count("term") == 0
            keys = mounted.publish(new_set(1))
            running.until("^term")
            running.until("^next $")
            assert running.until("^start [0-9]+ (.*)")[1] == keys[EXPIRES]
            assert not is_running(int(first))
            running.until('"applied","secret":"secret_v2.key"')
            assert running.end(signal.SIGTERM) == 5
        assert (running.count("start"), running.count("term")) == (2, 2)
        alert = ("refused", "secret.key", "placeholder")
        applied = [("applied", name, None) for name in ("secret.key", "secret_v2.key")]
        assert running.events == [alert, alert, *applied]
        assert [each["sequence"] for each in running.records] == [1, 2, 3, 4]
        assert running.records[3]["fingerprint"] == fingerprint_of(keys[V2])

    def test_signals(self, mounted: Mounted) -> None:
        """Signals reach the command alone. Its own exit is passed on, also soon after a restart."""
        child = "(trap 'echo child' USR1; while kill -0 $$ 2>/dev/null; do sleep 0.02; done) &"
        script = f"trap 'echo usr1' USR1; trap 'echo winch' WINCH; {child} {SERVE}"
        with watched(mounted, script=script) as running:
            running.until("^start")
            for number, said in ((signal.SIGUSR1, "^usr1"), (signal.SIGWINCH, "^winch")):
                running.process.send_signal(number)
                running.until(said)
            mounted.publish(new_set(1))
            running.until('"applied","secret":"secret_v2.key"')
            running.until("^start")
            assert running.end(signal.SIGTERM) == 5
        assert "child" not in running.text
        assert running.count("start") == 2

    def test_a_signal_that_is_ignored(self, mounted: Mounted) -> None:
        """A signal that is ignored at the start, as under nohup, is ignored by both."""
        wrapper = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh"]
        with watched(mounted, wrapper=wrapper) as running:
            running.until("^start")
            running.process.send_signal(signal.SIGHUP)
            assert running.end(signal.SIGTERM) == 5

    @pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGKILL, signal.SIGQUIT])
    def test_death_by_a_signal(self, mounted: Mounted, number: signal.Signals) -> None:
        """If a signal killed the command, the same signal ends the program, without a core dump."""
        with watched(mounted, script=f"kill -{number} $$") as running:
            assert running.end() == -number
        assert not [*mounted.root.glob("core*")]

    def test_a_signal_that_does_not_kill(self, mounted: Mounted) -> None:
        """Where the signal does not end the program, its status is that of a shell."""
        unblock = "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})"
        command = [sys.executable, "-c", f"import os, signal; {unblock}; os.kill(os.getpid(), signal.SIGUSR1)"]
        argv = ["exec", "--from", "directory:mounted", "--watch", "9", "--", *command]
        blocked = "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})"
        status, err = gate(mounted.root, argv, blocked)
        assert (status, err) == (128 + signal.SIGUSR1, WATCHES)

    def test_the_group(self, mounted: Mounted) -> None:
        """A restart ends the whole process group. What ignores SIGTERM gets SIGKILL at the bound."""
        child = "(trap '' TERM; exec sleep 600) & echo \"child $!\""
        with watched(mounted, "--stop-timeout", "0.2", script=f"{child}; {SERVE}") as running:
            ignores = int(running.until("^child ([0-9]+)")[1])
            running.until("^start")
            mounted.publish(new_set(1))
            running.until("^child")
            assert not is_running(ignores)
            running.until("^start")
            # The end of the command itself leaves its group alone, as `exec` does without a watch.
            other = int(re.findall(r"child (\d+)", running.text)[1])
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait() == 5
            assert is_running(other)
            os.kill(other, signal.SIGKILL)

    def test_a_command_that_ignores_sigterm(self, mounted: Mounted) -> None:
        """A command that does not end gets SIGKILL at the bound."""
        script = f'trap "" TERM; echo "start $$ ${EXPIRES}"; while :; do sleep 0.02; done'
        with watched(mounted, "--stop-timeout", "0.2", script=script) as running:
            first = int(running.until("^start ([0-9]+)")[1])
            keys = mounted.publish(new_set(1))
            second, tag = running.until("^start ([0-9]+) (.*)").groups()
            assert (is_running(first), tag) == (False, keys[EXPIRES])
            os.kill(int(second), signal.SIGKILL)
            running.until("last good keys of directory:mounted again")
            third = int(running.until("^start ([0-9]+)")[1])
            os.kill(third, signal.SIGKILL)
            assert running.end() == -signal.SIGKILL

    def test_a_zombie_in_the_group(self, mounted: Mounted) -> None:
        """A zombie that its parent does not reap is not waited for."""
        code = """
import os, time
if os.fork() == 0:  # leaves the group, and does not reap its child, which stays in it
    if os.fork() == 0:
        os._exit(0)
    os.setsid()
    open("pid", "w").write(str(os.getpid()))
    time.sleep(600)
while not os.path.exists("pid") or not open("pid").read(): time.sleep(0.01)
os.rename("mounted/..next", "mounted/..data")
while not os.path.exists("second"): time.sleep(0.01)
"""
        first = "; ".join(["[ -e pid ]", "then touch second", f"else exec '{sys.executable}' -c '{code}'", "fi"])
        mounted.publish(new_set(1))
        (mounted.root / "mounted" / "..next").symlink_to("v2")
        (mounted.root / "mounted" / "..data").unlink()
        (mounted.root / "mounted" / "..data").symlink_to("v1")
        argv = ["exec", "--from", "directory:mounted", "--watch", "0.1", "--stop-timeout", "0.1", "--"]
        bound = "from robodj_secretguard.cli import supervisor, watch; supervisor.GONE_SECONDS = 0.2"
        proven = "watch.PROVEN_SECONDS = 0"
        argv += ["sh", "-c", f"if {first}"]
        assert gate(mounted.root, argv, f"{bound}; {proven}")[0] == 0
        os.kill(int((mounted.root / "pid").read_text()), signal.SIGKILL)
        assert (mounted.root / "second").exists()

    def test_no_start_after_a_signal(self, mounted: Mounted) -> None:
        """A signal that arrives during a restart is passed on, and nothing is started again."""
        with watched(mounted, script=SLOW) as running:
            running.until("^start")
            mounted.publish(new_set(1))
            running.until("^term")
            running.process.send_signal(signal.SIGTERM)
            (mounted.root / "go").touch()
            assert running.end() == 6
        assert (running.count("start"), running.events) == (1, [])

    def test_no_restart_after_a_signal(self, mounted: Mounted) -> None:
        """While a command ends that was asked to, a changed set does not restart it."""
        with watched(mounted, script=SLOW) as running:
            running.until("^start")
            running.process.send_signal(signal.SIGTERM)
            running.until("^term")
            mounted.publish(new_set(1))
            mounted.publish(BAD)
            running.until("^ALERT")
            mounted.publish(new_set(2))
            (mounted.root / "go").touch()
            assert running.end() == 6
        assert running.count("start") == 1

    def test_revoked_while_it_ends(self, mounted: Mounted) -> None:
        """A key is revoked while a command ends that was asked to. The exit is passed on."""
        with watched(mounted, script=SLOW) as running:
            running.until("^start")
            running.process.send_signal(signal.SIGTERM)
            running.until("^term")
            first = mounted.versions[0]
            mounted.publish({**first, REVOKED: fingerprint_of(first[V1])})
            running.until('"stopped"')
            (mounted.root / "go").touch()
            assert running.end() == 6

    def test_a_bad_deployment(self, mounted: Mounted) -> None:
        """If the command ends soon after a restart, it is started on the last good set. The other one is not tried."""
        script = f'if [ "${EXPIRES}" = "$(cat bad)" ]; then (sleep 600 & echo left $!); exit 7; fi; {SERVE}'
        with watched(mounted, script=script) as running:
            good = running.until("^start [0-9]+ (.*)")[1]
            bad = new_set(1)
            put(mounted.root / "bad", bad[EXPIRES])
            mounted.publish(bad)
            left = int(running.until("^left ([0-9]+)")[1])
            running.until(
                "^ALERT: robodj-secretguard restarted the command on a changed set of directory:mounted, and it"
            )
            assert running.until("^start [0-9]+ (.*)")[1] == good
            assert not is_running(left)
            running.until('"restored","secret":"secret_v2.key"')
            put(mounted.root / "bad", "")
            good = mounted.publish(new_set(2))[EXPIRES]
            assert running.until("^start [0-9]+ (.*)")[1] == good
            assert running.end(signal.SIGTERM) == 5
        assert running.count("start") == 3
        assert "ended at once (exit status 7)" in running.text

    def test_no_good_keys_left(self, mounted: Mounted) -> None:
        """If the last good set was revoked meanwhile, the exit of the command is passed on."""
        script = f'[ "${EXPIRES}" = "$(cat bad)" ] && exit 7; {SERVE}'
        with watched(mounted, script=script) as running:
            running.until("^start")
            bad = new_set(1) | {REVOKED: ",".join(fingerprints(mounted.versions[0]))}
            put(mounted.root / "bad", bad[EXPIRES])
            mounted.publish(bad)
            assert running.end() == 7
        assert running.count("ALERT: robodj-secretguard has no good keys left: 2 alerts. ") == 1

    def test_a_command_that_disappears(self, mounted: Mounted) -> None:
        """A restart that fails as the command cannot be executed has the status of a shell, if nothing else works."""
        program = put(mounted.root / "serve", f"#!/bin/sh\n{SERVE}", mode=0o700)
        with watched(mounted, command=["./serve"]) as running:
            running.until("^start")
            program.chmod(0o600)
            mounted.publish(new_set(1))
            assert running.end() == 126
        assert "and it cannot be started (exit status 126)" in running.text

    @pytest.mark.parametrize(("command", "status"), [("no-such-program", 127), ("mounted/v1", 126)])
    def test_a_command_that_is_not_started(self, mounted: Mounted, command: str, status: int) -> None:
        """A command that cannot be started first has the status of a shell, and one line says why."""
        with watched(mounted, command=[command]) as running:
            assert running.end() == status
        assert running.lines[-1].startswith("robodj-secretguard: the command after -- ")
        with watched(mounted, script=f"exit {status}") as running:
            assert running.end() == status
        assert running.count("robodj-secretguard: the command after -- ") == 0

    def test_a_set_that_becomes_bad_during_the_stop(self, mounted: Mounted) -> None:
        """A set that does not pass after the stop is not started. The last good one is."""
        config = mounted.root / "config"
        config.mkdir(mode=0o700)
        keys = new_set(1)
        put(mounted.root / "list", "\n".join(fingerprints(keys)))
        script = f"trap 'mv list config/revoked.fingerprints; exit 5' TERM; {SERVE.partition('TERM')[2]}"
        with watched(mounted, script=script) as running:
            good = running.until("^start [0-9]+ (.*)")[1]
            mounted.publish(keys)
            running.until("^ALERT: secret.key: revoked: ")
            running.until("^ALERT: robodj-secretguard refused a changed set: 2 alerts. ")
            assert running.until("^start [0-9]+ (.*)")[1] == good
            running.until('"restored"')
            assert running.end(signal.SIGTERM) == 5

    def test_revoked(self, mounted: Mounted) -> None:
        """A revoked key stops the command and its group with 3."""
        with watched(mounted, script=f'sleep 600 & echo "child $!"; {SERVE}') as running:
            child = int(running.until("^child ([0-9]+)")[1])
            running.until("^start")
            first = mounted.versions[0]
            mounted.publish({**first, REVOKED: fingerprint_of(first[V1])})
            assert running.end() == 3
            assert not is_running(child)
        assert running.count("term") == 1
        assert running.events[-1] == ("stopped", "secret.key", "revoked")

    def test_revoked_and_replaced(self, mounted: Mounted) -> None:
        """A good replacement in the same write restarts the command at once, whatever the splay."""
        with watched(mounted, "--splay", "9999") as running:
            running.until("^start")
            entry = {REVOKED: fingerprint_of(mounted.versions[0][V1])}
            keys = mounted.publish(new_set(1) | entry)
            assert running.until("^start [0-9]+ (.*)")[1] == keys[EXPIRES]
            assert running.end(signal.SIGTERM) == 5
        assert "ALERT" not in running.text

    def test_a_withdrawn_revocation(self, mounted: Mounted) -> None:
        """A revocation that was seen once holds for later sets, and for the command."""
        lost, other = new_set(1), fingerprint_of(good_keys()[V1])
        (mounted.root / "config").mkdir(mode=0o700)
        listed = put(mounted.root / "config" / "revoked.fingerprints", "\n".join(fingerprints(lost)))
        script = f"echo list ${REVOKED}; {SERVE}"
        with watched(mounted, script=script, environ={REVOKED: other}) as running:
            assert running.until("^list (.*)")[1] == other
            running.until("^start")
            listed.unlink()
            mounted.publish(lost)
            running.until("^ALERT: secret.key: revoked: ")
            running.until(f"{fingerprints(lost)[0]}.* was on a revocation list and is not now")
            mounted.publish(new_set(2))
            assert running.until("^list (.*)")[1] == other
            running.until("^start")
            assert running.end(signal.SIGTERM) == 5

    def test_a_source_that_is_away(self, mounted: Mounted) -> None:
        """While the source is away the command runs, and a revocation in the file still stops it."""
        (mounted.root / "config").mkdir(mode=0o700)
        with watched(mounted) as running:
            running.until("^start")
            (mounted.root / "mounted").rename(mounted.root / "away")
            running.until("^ALERT: source: directory:mounted does not exist")
            (mounted.root / "away").rename(mounted.root / "mounted")
            mounted.publish(BAD)
            running.until("^ALERT: secret.key: placeholder")
            (mounted.root / "mounted").rename(mounted.root / "away")
            put(mounted.root / "new", fingerprints(mounted.versions[0])[0]).rename(
                mounted.root / "config" / "revoked.fingerprints"
            )
            assert running.end() == 3
        assert running.count("start") == 1

    def test_a_file_key(self, mounted: Mounted) -> None:
        """A key that no source has is a part of the set: its new value in the key file restarts the command."""
        keys = new_set()
        (mounted.root / "config").mkdir(mode=0o700)
        put(mounted.root / "config" / "secret_v2.key", keys.pop(V2))
        mounted.publish(keys)
        with watched(mounted) as running:
            running.until("^start")
            put(mounted.root / "new", good_keys()[V2]).rename(mounted.root / "config" / "secret_v2.key")
            running.until("^term")
            running.until('"applied","secret":"secret_v2.key"')
            running.until("^start")
            assert running.end(signal.SIGTERM) == 5

    def test_streams(self, mounted: Mounted) -> None:
        """The command has the program's stdin and stdout, also with a model that prints."""
        put(mounted.root / "ours.py", "from robodj_secretguard import RuntimeSecrets\nprint('imported')\n")
        argv = ["exec", "--from", "directory:mounted", "--watch", "9", "--model", "ours:RuntimeSecrets"]
        argv += ["--config-dir", ".", "--require-env-only", "--", "sh", "-c"]
        argv += ['echo "$ROBODJ_PROTECTED_ENV $ROBODJ_CONFIG_DIR"']
        script = f"import sys\nfrom robodj_secretguard.cli import main\nsys.exit(main({argv!r}))\n"
        ran = run_copy(script, {}, mounted.root, secret=mounted.keys)
        assert (ran.status, ran.out, ran.err) == (0, f"true {mounted.root.resolve()}\n", f"imported\n{WATCHES}")
        with watched(mounted, script='read line; echo "got $line"') as running:
            assert running.process.stdin is not None
            running.process.stdin.write("text\n")
            running.process.stdin.flush()
            running.until("^got text")
            assert running.end() == 0

    def test_no_stdout(self, mounted: Mounted) -> None:
        """A closed stdout is closed in the command too."""
        argv = ["exec", "--from", "directory:mounted", "--watch", "9", "--", "sh", "-c", "echo text || exit 6"]
        assert gate(mounted.root, argv, "os.close(1); sys.stdout = None")[0] == 6

    def test_a_terminal(self, mounted: Mounted) -> None:
        """A command gets no terminal as its stdin, as it would be stopped when it reads it."""
        controller, terminal = pty.openpty()
        with watched(mounted, script="cat; exit 4", stdin=terminal) as running:
            assert running.end() == 4
        os.close(terminal)
        os.close(controller)

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
    def test_a_killed_program(self, mounted: Mounted) -> None:
        """If the program is killed, its command ends too, as nobody watches it any more."""
        with watched(mounted) as running:
            running.until("^start")
            assert running.end(signal.SIGKILL) == -signal.SIGKILL
        assert running.count("term") == 1

    def test_another_platform(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Elsewhere, a command survives the program, and a zombie is not told from a process."""
        monkeypatch.setattr(sys, "platform", "darwin")
        assert supervisor._ends_with_parent() is None  # noqa: SLF001 - the other branch runs on Linux
        assert supervisor._lives(os.getpgrp()) is True  # noqa: SLF001
        supervisor._without_core()  # noqa: SLF001 - it does nothing there

    def test_threads_get_no_signal(self) -> None:
        """A signal goes to the main thread, as one that arrives in another thread does not wake it."""
        masks: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
        supervisor._start(lambda: masks.put({*signal.pthread_sigmask(signal.SIG_BLOCK, ())}))  # noqa: SLF001
        assert masks.get(timeout=TIMEOUT) >= {signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD}
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def test_too_many_texts(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """If too many texts wait for the reader of stderr, further ones are lost."""
        writer = supervisor.Writer()
        writer.write("first")
        assert writer.flush()
        monkeypatch.setattr(supervisor, "_MOST_TEXTS", 0)
        writer.write("second")
        assert writer.flush()
        assert capsys.readouterr().err == "first\n"

    def test_a_process_of_another_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process group that gets no signal from this user still lives. Root can signal all."""

        def refuse(*_: int) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "killpg", refuse)
        assert supervisor._lives(os.getpgrp()) is True  # noqa: SLF001

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
    def test_a_process_that_is_gone(self) -> None:
        """A process that ended after the list of processes was read has no group."""
        assert supervisor._group_of("0") == ""  # noqa: SLF001 - it is a matter of microseconds

    def test_a_poll_that_fails(self, mounted: Mounted) -> None:
        """A poll that fails by itself is an alert, and the command keeps running."""
        before = "from robodj_secretguard.cli import supervisor; supervisor.Supervisor._read = lambda _: 1 / 0"
        with watched(mounted, before=before) as running:
            running.until("^start")
            running.until("^ALERT: internal: .*ZeroDivisionError")
            running.until(f"^{KEPT}1 alert. Details: robodj-secretguard explain internal")
            assert running.end(signal.SIGTERM) == 5

    @pytest.mark.skipif(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="the tests run under nohup")
    def test_a_hangup_during_a_restart(self, mounted: Mounted) -> None:
        """A SIGHUP that arrives while the command ends does not prevent its restart."""
        script = (
            "trap 'echo term; while :; do [ -e go ] && exit 5; done' TERM; echo start; while :; do sleep 0.02; done"
        )
        with watched(mounted, script=script) as running:
            running.until("^start")
            mounted.publish(new_set(1))
            running.until("^term")
            running.process.send_signal(signal.SIGHUP)
            put(mounted.root / "go")
            running.until("^start")
            assert running.end(signal.SIGTERM) == 5

    def test_a_handled_interrupt(self, mounted: Mounted) -> None:
        """A command that handles SIGINT and goes on is restarted again when the stop timeout has passed."""
        script = f"trap 'echo interrupted' INT; {SERVE}"
        with watched(mounted, "--stop-timeout", "0.5", script=script) as running:
            running.until("^start")
            running.process.send_signal(signal.SIGINT)
            running.until("^interrupted")
            mounted.publish(new_set(1))
            running.until("^start")
            assert running.end(signal.SIGTERM) == 5

    def test_too_many_processes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """If no thread can be started for a poll, that is an alert, and the command keeps running."""
        running = supervising(lambda *_: check(environ=GOOD))
        running._process = subprocess.Popen(["sleep", "60"])  # noqa: SLF001, S607

        def fail(_: object) -> None:
            raise RuntimeError

        monkeypatch.setattr(threading.Thread, "start", fail)
        try:
            running._next_poll = 0  # noqa: SLF001
            assert running._advance(1) is None  # noqa: SLF001
            item = running._queue.get_nowait()  # noqa: SLF001
        finally:
            running._process.kill()  # noqa: SLF001
            running._process.wait()  # noqa: SLF001
        assert isinstance(item, Finding)
        assert item.check is Check.INTERNAL

    def test_a_reader_that_has_stopped(self, mounted: Mounted) -> None:
        """If nobody reads stderr any more, signals and the end of the command still pass."""
        reading, writing = os.pipe()
        argv = [sys.executable, "-m", "robodj_secretguard", "exec", "--from", "directory:mounted", "--watch", "0.1"]
        with subprocess.Popen(
            [*argv, "--", "sh", "-c", SERVE],
            cwd=mounted.root,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=writing,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"start")
            os.set_blocking(writing, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writing, b"x" * 65536)
            os.set_blocking(writing, True)
            mounted.publish(BAD)
            time.sleep(0.5)  # nothing tells when it tries to write its alert
            process.terminate()
            assert process.wait(TIMEOUT) == 5
        os.close(writing)
        os.close(reading)

    def test_a_check_that_fails(self) -> None:
        """A check that fails by itself before a start is an alert, and nothing starts on that set."""
        running = supervising(lambda *_: 1 / 0)
        judged = running._judged(running._watch.running)  # noqa: SLF001 - an error of the library, at one moment
        assert (judged.passed, [str(each.check) for each in judged.report.alerts]) == (False, ["internal"])

    def test_an_error(self, mounted: Mounted) -> None:
        """An error of the watch itself ends the command, as nobody watches it any more."""
        before = "from robodj_secretguard.cli import supervisor; supervisor.Watch.polled = lambda *_: 1 / 0"
        with watched(mounted, before=before) as running:
            assert running.end() == 2
        assert running.count("robodj-secretguard: running the command failed (ZeroDivisionError)") == 1
        assert running.count("term") == 1

    def test_a_poll_during_a_stop(self) -> None:
        """The result of a poll that arrives during a stop is left to the next one."""
        running = supervising(lambda *_: check(environ=GOOD))
        running._then = lambda: None  # noqa: SLF001 - such a poll is a matter of milliseconds
        running._is_polling = True  # noqa: SLF001
        running._handle(Candidate([given(BAD)], {}, check(environ=BAD), passed=False))  # noqa: SLF001
        assert running._is_polling is False  # noqa: SLF001
