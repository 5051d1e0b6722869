"""Fault injection: whatever is short, broken or in the middle of something else, a bad key does not start a service."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from conftest import TIMEOUT, V1, run
from detector import leaks
from processes import (
    BAD,
    GOOD,
    GUARD,
    SERVED,
    SERVICE,
    WARNED,
    WARNING_START,
    Case,
    assert_alert_lines,
    checks,
    host_env,
    run_script,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from conftest import Ran

START = f"{SERVICE}{SERVED}"
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a limit on memory that holds")


DESCRIPTORS = """
import atexit, resource
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, ({}, hard))
atexit.register(resource.setrlimit, resource.RLIMIT_NOFILE, (hard, hard))  # what runs at exit is not what is tested
"""
LIMITS = (3, 4, 8)
descriptors = table(
    {
        f"{name}-{limit}": Case(f"{DESCRIPTORS.format(limit)}{START}", keys, files)
        for name, keys, files in (("good", GOOD, {}), ("bad", BAD, {}), ("files", {}, GOOD), ("bad-files", {}, BAD))
        for limit in LIMITS
    }
)


@pytest.mark.parametrize("limit", LIMITS)
def test_descriptors_that_run_out(descriptors: Mapping[str, Ran], limit: int) -> None:
    """Without a descriptor left, keys in the environment are judged as ever, and a file that is needed is unsafe.

    Where there is a config directory, there may be a revocation list that cannot be looked for.
    """
    good, bad, files, bad_files = (descriptors[f"{name}-{limit}"] for name in ("good", "bad", "files", "bad-files"))
    assert (good.status, good.out, good.err) == (0, "served\n", "")
    assert (bad.status, bad.err) == (3, "")
    assert_alert_lines(bad.out)
    enough = limit > LIMITS[0]
    assert (files.status, checks(files)) == (
        (0, ["file-fallback"] * 2) if enough else (3, ["revocation-list", "file-unsafe", "file-unsafe"])
    )
    assert (bad_files.status, "served" in bad_files.out) == (3, False)


MEMORY = """
import resource
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + {extra}, size + {extra}))
hog = []
for block in 1 << 16, 1 << 12, 1 << 8, 1 << 6:
    try:
        while True:
            hog.append(bytes(block))
    except MemoryError:
        pass
del hog[len(hog) - {freed}:]
"""
FREED = (0, 1, 4, 16, 64, 256, 1024)
memory = table(
    {
        f"bad-{freed}": Case(f"{GUARD}{MEMORY.format(extra=1 << 20, freed=freed)}guard()\n{SERVED}", BAD)
        for freed in FREED
    }
    | {
        f"{name}-plenty": Case(f"{GUARD}{MEMORY.format(extra=1 << 26, freed='len(hog)')}guard()\n{SERVED}", keys)
        for name, keys in (("bad", BAD), ("good", GOOD))
    }
)


@ON_LINUX
@pytest.mark.parametrize("freed", FREED)
def test_memory_that_runs_out(memory: Mapping[str, Ran], freed: int) -> None:
    """With hardly any memory a bad key does not start a service: it is refused, or the process breaks."""
    ran = memory[f"bad-{freed}"]
    assert ran.status != 0
    assert "served" not in ran.out


@ON_LINUX
def test_memory_that_is_enough(memory: Mapping[str, Ran]) -> None:
    """A limit that leaves enough changes nothing."""
    good, bad = memory["good-plenty"], memory["bad-plenty"]
    assert (good.status, good.out, good.err, bad.status, bad.err) == (0, "served\n", "", 3, "")
    assert_alert_lines(bad.out)


GONE = "import os\nos.mkdir('gone')\nos.chdir('gone')\nos.rmdir('../gone')\n"
GATE = "import sys\nfrom robodj_secretguard.cli import main\nsys.exit(main(['check', *{}]))\n"
OWN = ["--model", "robodj_secretguard:RuntimeSecrets"]
gone = table(
    {
        f"{name}-{what}": Case(f"{GONE}{script}", keys)
        for name, keys in (("good", GOOD), ("bad", BAD))
        for what, script in (("guard", START), ("gate", GATE.format([])), ("gate-with-a-model", GATE.format(OWN)))
    }
)


@pytest.mark.parametrize("what", ["guard", "gate", "gate-with-a-model"])
def test_a_working_directory_that_is_gone(gone: Mapping[str, Ran], what: str) -> None:
    """It is refused with good keys too: nobody knows which revocation list was there."""
    good, bad = gone[f"good-{what}"], gone[f"bad-{what}"]
    assert {(each.status, each.err) for each in (good, bad)} == {(3 if what == "guard" else 1, "")}
    assert good.out.startswith("ALERT: setting: config under the working directory cannot be found, since the ")
    assert_alert_lines("".join(bad.out.splitlines(keepends=True)[1:3]))


NO_DIRECTORIES = {
    "file": "open('config', 'x').close()",
    "loop": "os.symlink('config', 'config')",
    "dangling": "os.symlink('nothing', 'config')",
    "device": "os.symlink(os.devnull, 'config')",
    "pipe": "os.mkfifo('config')",
}
no_directories = table(
    {
        f"{name}-{named}": Case(f"import os\n{make}\n{START}", keys, more={"ROBODJ_CONFIG_DIR": named})
        for name, make in NO_DIRECTORIES.items()
        for named, keys in (("", {}), ("config", GOOD))
    }
)


@pytest.mark.parametrize("name", NO_DIRECTORIES)
def test_a_config_directory_that_is_none(no_directories: Mapping[str, Ran], name: str) -> None:
    """Whatever is there instead of a directory is an alert: the directory may hold a revocation list."""
    unnamed, named = no_directories[f"{name}-"], no_directories[f"{name}-config"]
    assert (unnamed.status, unnamed.err, checks(unnamed)) == (3, "", ["setting", "missing", "missing"])
    assert (named.status, named.err, named.out.count("\n")) == (3, "", 1)
    assert named.out.startswith("ALERT: setting: The config directory that ROBODJ_CONFIG_DIR names ")


LOCKED = """
import atexit, os
os.chmod(".", 0o755)
os.chmod("config", 0o755)
os.chmod({0!r}, 0)
if os.geteuid() == 0:
    os.setgroups([])
    os.seteuid(65534)
    atexit.register(os.seteuid, 0)
else:
    atexit.register(os.chmod, {0!r}, 0o700)
"""
LOCKS = {"file": "config/secret.key", "directory": "config"}
locked = table(
    {
        f"{name}-{place}": Case(f"{GUARD}{LOCKED.format(path)}guard()\n{SERVED}", keys, files=GOOD)
        for name, path in LOCKS.items()
        for place, keys in (("files", {}), ("environment", GOOD))
    }
    | {
        f"{name}-environment-only": Case(
            f"{GUARD}{LOCKED.format(path)}guard(require_env_only=True)\n{SERVED}", GOOD, files=GOOD
        )
        for name, path in LOCKS.items()
    }
)


@pytest.mark.parametrize("name", LOCKS)
def test_a_key_file_or_directory_that_this_user_cannot_read(locked: Mapping[str, Ran], name: str) -> None:
    """Where a file is needed, that is unsafe; where it is not, it cannot be judged and so may hold a key.

    In a directory that cannot be looked into there may be a revocation list.
    """
    needed, beside, ruled_out = (locked[f"{name}-{case}"] for case in ("files", "environment", "environment-only"))
    revoked = ["revocation-list"] * (name == "directory")
    assert (needed.status, needed.err, checks(needed)) == (3, "", [*revoked, "file-unsafe", "file-unsafe"])
    assert all("it cannot be read" in alert for alert in needed.alerts)
    assert (beside.status, beside.err) == (3 if revoked else 0, "")
    assert checks(beside) == [*revoked, "file-stale", "file-stale"]
    assert (ruled_out.status, ruled_out.err, checks(ruled_out)) == (3, "", [*revoked, "file-present", "file-present"])
    assert "cannot be judged" in ruled_out.alerts[-1]


CHANGES = """
import os, secrets
read, written = os.read, []
def change():
    {}
def changing(descriptor, size):
    chunk = read(descriptor, min(size, 10))
    if not written:
        written.append(os.stat("config/secret.key"))
        change()
    return chunk
os.read = changing
"""
CHANGING = {
    "rewritten": "open('config/secret.key', 'r+').write(secrets.token_urlsafe(32))",
    "grown": "open('config/secret.key', 'a').write('# one line more')",
    "truncated": "os.truncate('config/secret.key', 0)",
}
changing = table({name: Case(f"{CHANGES.format(change)}{START}", files=GOOD) for name, change in CHANGING.items()})


@pytest.mark.parametrize("name", CHANGING)
def test_a_file_that_changes_while_it_is_read(changing: Mapping[str, Ran], name: str) -> None:
    """What was read of two contents is no key: the file is unsafe."""
    ran = changing[name]
    assert (ran.status, ran.err, checks(ran)) == (3, "", ["file-unsafe", "file-fallback"])
    assert "it changed while it was read" in ran.alerts[0]


INTERRUPTED = """
import os, signal
read = os.read
def interrupted(descriptor, size):
    os.kill(os.getpid(), signal.SIGUSR1)
    return read(descriptor, size)
os.read = interrupted
def handle(*_):
    {}
signal.signal(signal.SIGUSR1, handle)
try:
    SECRETS = guard()
except Exception:
    pass
"""
HANDLERS = {
    "pass": (0, ["file-fallback", "file-fallback"]),
    "raise RuntimeError": (3, ["internal"]),
    "raise SystemExit(0)": (3, ["internal"]),
    "raise TimeoutError": (3, ["file-unsafe", "file-unsafe"]),  # which is an OSError
    "raise KeyboardInterrupt": (-2, []),
}
interrupted = table({each: Case(f"{GUARD}{INTERRUPTED.format(each)}{SERVED}", files=GOOD) for each in HANDLERS})


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_signal_while_a_file_is_read(interrupted: Mapping[str, Ran], handler: str) -> None:
    """A handler that returns changes nothing, one that raises is a refusal, and an interrupt stays one."""
    ran = interrupted[handler]
    assert (ran.status, checks(ran)) == HANDLERS[handler]
    assert ("served" in ran.out) is (ran.status == 0)


HOLDS = """
import os
def holds(error):
    trace, frames = error.__traceback__, []
    while trace:
        frames += trace.tb_frame.f_locals.values()
        trace = trace.tb_next
    return any(value is os.environ for value in frames)
"""
"""Whether a traceback with locals would show every variable."""
AT_A_VARIABLE = """
encode = os.environ.encodekey
def encode_or_raise(name):
    if name == {0!r}:
        raise {1}
    return encode(name)
os.environ.encodekey = encode_or_raise
try:
    guard()
except BaseException as error:
    print(error.code if isinstance(error, SystemExit) else type(error).__name__, holds(error))
"""
PROTECTED = "ROBODJ_PROTECTED_ENV"
VARIABLES = (PROTECTED, V1)
RAISED = {"TimeoutError": "3 False", "KeyboardInterrupt": "KeyboardInterrupt False"}
at_a_variable = table(
    {
        f"{name}-{error}": Case(f"{GUARD}{HOLDS}{AT_A_VARIABLE.format(name, error)}", GOOD | {PROTECTED: "false"})
        for name in VARIABLES
        for error in RAISED
    }
    | {error: Case(f"{GUARD}{HOLDS}{AT_A_VARIABLE.format('RUN_MAIN', error)}", BAD) for error in RAISED}
)


@pytest.mark.parametrize("error", RAISED)
@pytest.mark.parametrize("name", VARIABLES)
def test_a_signal_while_a_variable_is_read(at_a_variable: Mapping[str, Ran], name: str, error: str) -> None:
    """What a handler raises is a refusal, an interrupt stays one, and neither passes a frame with the environment."""
    assert at_a_variable[f"{name}-{error}"].out.splitlines()[-1] == RAISED[error]


@pytest.mark.parametrize("error", RAISED)
def test_a_signal_while_the_status_of_a_refusal_is_chosen(at_a_variable: Mapping[str, Ran], error: str) -> None:
    """It is refused all the same, with the status for where there is no autoreloader."""
    assert at_a_variable[error].out.splitlines()[-1] == "3 False"


@pytest.mark.parametrize("options", [("-OO",), ("-I",), ("-W", "error", "-X", "dev"), ("-X", "utf8=0")], ids=" ".join)
def test_the_gate_however_python_is_started(tmp_path: Path, options: tuple[str, ...]) -> None:
    """The gate fails on bad keys whichever of Python's own options are set."""
    command = [*options, "-m", "robodj_secretguard", "check"]
    ran = run(command, env=host_env(BAD), cwd=tmp_path, keys=tuple(GOOD.values()))
    assert (ran.status, ran.err, len(ran.alerts)) == (1, "", 2)


WAITS = f"""{GUARD}
import sys, structlog
def processor(logger, method, event):
    sys.stdin.readline()
    raise structlog.DropEvent
structlog.configure(processors=[processor])
guard()
{SERVED}"""


def test_a_pipeline_that_blocks_does_not_hold_the_lines_back(tmp_path: Path) -> None:
    """The lines of a refusal are on stderr while the pipeline still has the first event, and the status comes after."""
    (tmp_path / "app.py").write_text(WAITS, encoding="utf-8")
    pipe = subprocess.PIPE
    command = [sys.executable, "app.py"]
    with subprocess.Popen(
        command, env=host_env(BAD), cwd=tmp_path, text=True, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        bound = threading.Timer(TIMEOUT, process.kill)
        bound.start()
        try:
            assert process.stderr is not None
            lines = process.stderr.readline() + process.stderr.readline()
            assert process.poll() is None
            out, err = process.communicate("go on\ngo on\n")
        finally:
            bound.cancel()
            process.kill()
    assert (process.returncode, out, err) == (3, "", "")
    assert_alert_lines(lines)
    assert leaks(lines, tuple(GOOD.values())) == []


REENTERS = """
import os, structlog
entered = []
def processor(logger, method, event):
    entered.append(method)
    if len(entered) > 9:
        os._exit(9)
    {}
    return event
structlog.configure(processors=[processor, structlog.processors.JSONRenderer()])
guard()
"""
REENTERING = {
    "raising": "guard()",
    "swallowing": "try:\n        guard()\n    except SystemExit:\n        pass",
}
reentering = table(
    {
        f"{name}-{keys}": Case(f"{GUARD}{REENTERS.format(body)}{SERVED}", BAD if keys == "bad" else GOOD)
        for name, body in REENTERING.items()
        for keys in ("good", "bad")
    }
)


@pytest.mark.parametrize("name", REENTERING)
def test_a_pipeline_that_calls_the_guard_again(reentering: Mapping[str, Ran], name: str) -> None:
    """A processor that calls the guard is not called by that one in its turn, for ever or until the stack is full."""
    good, bad = reentering[f"{name}-good"], reentering[f"{name}-bad"]
    assert (good.status, "served" in good.out) == (0, True)
    assert (bad.status, "served" in bad.out) == (3, False)
    assert_alert_lines("".join(bad.err.splitlines(keepends=True)[:2]))


FORKS = f"""{SERVICE}
import os, sys
child = os.fork()
value = SECRETS.secret_key.get_secret_value()
assert value == os.environ["ROBODJ_SECRET_KEY"]
if not child:
    os.environ["ROBODJ_SECRET_KEY"] = value[:20]
    guard()
    print("served")
    sys.exit(9)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
forked = table({"fork": Case(FORKS, WARNED)})


def test_a_fork_has_the_values_and_a_refusal_of_its_own(forked: Mapping[str, Ran]) -> None:
    """A child that is forked after the guard has its values, repeats no line, and is refused by itself."""
    ran = forked["fork"]
    first, alert, again, status = ran.out.splitlines()
    assert (ran.status, ran.err, status) == (0, "", "3")
    assert first.startswith(WARNING_START)
    assert (again, alert.startswith("ALERT: secret.key: format: ")) == (first, True)


STACK = f"""{HOLDS}
import os, sys
def down(depth, call):
    return call() if depth == 0 else down(depth - 1, call)
def leaf(): pass
def outcome(call, *arguments):
    error = None
    try:
        call(*arguments)
    except BaseException as caught:
        error = caught
    sys.setrecursionlimit(1000)
    if isinstance(error, SystemExit):
        return "the environment" if holds(error) else str(error.code)
    return "returned" if error is None else type(error).__name__
def status(call, *arguments):
    child = os.fork()
    if not child:
        ended = outcome(call, *arguments)
        os._exit({{"3": 3, "returned": 0}}.get(ended, 9))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
DEEP = """
depth = 0
while status(down, depth + 1, leaf) == 0:
    depth += 1
statuses = set()
for room in range(1, 90):  # no comprehension, which would be one call deeper
    statuses.add(status(down, depth - room, guard))
print(sorted(statuses))
"""
TINY = """
def limited(limit, call):
    sys.setrecursionlimit(limit)
    call()
limit = 1
while status(limited, limit, leaf) != 0:
    limit += 1
statuses = set()
for room in range(1, 90):
    statuses.add(status(limited, limit + room, guard))
print(sorted(statuses))
"""
THREAD = f"""
import threading
def serve():
    depth = 0
    while outcome(down, depth + 1, leaf) == "returned":
        depth += 1
    outcome(down, depth - 20, guard)
    {SERVED}
threading.Thread(target=serve).start()
"""
STACKS = {"deep": DEEP, "tiny": TINY}
stacks = table(
    {
        f"{name}-{keys}": Case(f"{GUARD}{STACK}{script}", BAD if keys == "bad" else GOOD)
        for name, script in STACKS.items()
        for keys in ("good", "bad")
    }
    | {"thread": Case(f"{GUARD}{STACK}{THREAD}", BAD)}
)


@pytest.mark.skipif(not inspect.isbuiltin(os._exit), reason="coverage ends a process by a function that needs a frame")
@pytest.mark.parametrize("name", STACKS)
def test_a_stack_that_is_nearly_full(stacks: Mapping[str, Ran], name: str) -> None:
    """Wherever the guard, and one call in it, have room, bad keys are refused, and good keys start or are refused.

    With less room it is as if it were not called: Python raises a RecursionError.
    """
    assert stacks[f"{name}-bad"].out.splitlines()[-1] == "[3]"
    assert stacks[f"{name}-good"].out.splitlines()[-1] == "[0, 3]"


def test_a_stack_that_is_nearly_full_in_a_thread(stacks: Mapping[str, Ran]) -> None:
    """Near the limit in a thread, where a SystemExit is swallowed, the process still ends at once."""
    ran = stacks["thread"]
    assert (ran.status, "served" in ran.out) == (3, False)


AT_EXIT = {
    "handler": f"import atexit\n{GUARD}def late():\n    guard()\n    {SERVED}atexit.register(late)\n",
    "destructor": (
        f"import atexit\n{GUARD}class Late:\n    def __del__(self, guard=guard):\n        guard()\n        {SERVED}"
        "late = Late()\natexit.register(globals().clear)\n"
    ),
}


@pytest.mark.parametrize("script", AT_EXIT.values(), ids=AT_EXIT)
def test_an_interpreter_that_is_ending(tmp_path: Path, script: str) -> None:
    """As the interpreter ends, the lines are written and nothing runs after the guard; the status is the host's."""
    ran = run_script(script, GOOD, tmp_path)
    assert (ran.status, ran.out, ran.err) == (0, "served\n", "")
    assert_alert_lines(run_script(script, BAD, tmp_path).out)


ENDS_AT_ONCE = """
import asyncio, sys, threading, types
{}
async def main():
    try:
        guard()
    except BaseException:
        print("went on")
asyncio.run(main())
"""
HALVES = {
    "no-thread-starts": "def fail(self): raise RuntimeError\nthreading.Thread.start = fail",
    "half-logging": "sys.modules['logging'] = types.ModuleType('logging')",
    "no-queue": "sys.modules['queue'] = None",
}
halves = table({name: Case(f"{GUARD}{ENDS_AT_ONCE.format(half)}", BAD) for name, half in HALVES.items()})


@pytest.mark.parametrize("name", HALVES)
def test_what_an_end_at_once_needs_is_not_there(halves: Mapping[str, Ran], name: str) -> None:
    """Where no thread starts, or logging or queue is half-imported, the end is the same, without a traceback."""
    ran = halves[name]
    assert (ran.status, ran.err) == (3, "")
    assert_alert_lines(ran.out)


def test_a_half_imported_threading(tmp_path: Path) -> None:
    """Where what the library needs cannot be imported, it is not imported either."""
    half = "import sys, types\nsys.modules['threading'] = types.ModuleType('threading')\n"
    ran = run_script(f"{half}{START}", GOOD, tmp_path)
    assert (ran.status, ran.out) == (1, "")


SUBINTERPRETER = f"""
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
try:
    failure = interpreters.run_string(interpreters.create(), {START!r})
except Exception as error:
    failure = error
print("failed" if failure else "went on")
"""
subinterpreters = table({"sub": Case(SUBINTERPRETER, BAD)})


def test_a_subinterpreter(subinterpreters: Mapping[str, Ran]) -> None:
    """In a subinterpreter nothing runs after the guard, or it cannot be imported there; the rest is the host's."""
    assert subinterpreters["sub"].out.splitlines()[-1] == "failed"
    assert "served" not in subinterpreters["sub"].out
