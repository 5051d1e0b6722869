"""Fault injection: when something is scarce, broken or interrupted, a bad key does not start a service."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

import pytest
from conftest import V1
from processes import (
    BAD,
    GOOD,
    GUARD,
    SERVED,
    SERVICE,
    SETS,
    START,
    WARNED,
    assert_alert_lines,
    checks,
    config_files,
    needs_fork,
    run_copy,
    run_forked,
    run_script,
)

pytestmark = needs_fork
full = pytest.mark.full


DESCRIPTORS = """
import atexit, resource
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, ({}, hard))
atexit.register(resource.setrlimit, resource.RLIMIT_NOFILE, (hard, hard))  # what runs at exit is not what is tested
"""


@pytest.mark.parametrize("limit", [3, 4, 8])
class TestDescriptors:
    """No file descriptors are left."""

    def test_keys_in_the_environment(self, tmp_path: Path, limit: int) -> None:
        """Values of the environment are judged as usual."""
        good, bad = (run_forked(f"{DESCRIPTORS.format(limit)}{START}", keys, tmp_path) for keys in (GOOD, BAD))
        assert (good.status, good.out, good.err) == (0, "served\n", "")
        assert (bad.status, bad.err) == (3, "")
        assert_alert_lines(bad.out)

    @pytest.mark.parametrize("keys", ["good", "bad"])
    def test_file_without_a_descriptor_is_unsafe(self, tmp_path: Path, limit: int, keys: str) -> None:
        """Without a descriptor, nothing is read: neither a file that is needed, nor the module of its rules."""
        config_files(tmp_path, SETS[keys])
        ran = run_forked(f"{DESCRIPTORS.format(limit)}{START}", {}, tmp_path)
        assert "served" in ran.out if (limit, keys) in {(4, "good"), (8, "good")} else ran.status == 3
        if keys == "good":
            assert checks(ran) == (["internal"] if limit == 3 else ["file-fallback"] * 2)


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


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a limit on memory that holds")
class TestMemory:
    """Memory is scarce."""

    @pytest.mark.parametrize("freed", [0, 16, 1024, *(pytest.param(each, marks=full) for each in (1, 4, 64, 256))])
    def test_bad_key_starts_nothing_without_memory(self, tmp_path: Path, freed: int) -> None:
        """With hardly any memory, a bad key does not start a service: the guard refuses, or the process crashes."""
        ran = run_forked(f"{GUARD}{MEMORY.format(extra=1 << 20, freed=freed)}guard()\n{SERVED}", BAD, tmp_path)
        assert (ran.status == 0, "served" in ran.out) == (False, False)

    @pytest.mark.parametrize("keys", ["good", "bad"])
    def test_limit_with_enough_memory_changes_nothing(self, tmp_path: Path, keys: str) -> None:
        """A limit with enough memory changes nothing."""
        script = f"{GUARD}{MEMORY.format(extra=1 << 26, freed='len(hog)')}guard()\n{SERVED}"
        ran = run_forked(script, SETS[keys], tmp_path)
        assert (ran.status, ran.err) == (0 if keys == "good" else 3, "")
        assert ran.out == "served\n" if keys == "good" else len(ran.alerts) == 2


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


@pytest.mark.parametrize(
    ("handler", "status", "findings"),
    [
        ("pass", 0, ["file-fallback", "file-fallback"]),
        ("raise RuntimeError", 3, ["internal"]),
        ("raise SystemExit(0)", 3, ["internal"]),
        ("raise TimeoutError", 3, ["file-unsafe", "file-unsafe"]),  # a kind of OSError
        ("raise KeyboardInterrupt", -2, []),
    ],
)
def test_a_signal_while_a_file_is_read(tmp_path: Path, handler: str, status: int, findings: list[str]) -> None:
    """A handler that returns changes nothing, one that raises is a refusal, and an interrupt stays an interrupt."""
    config_files(tmp_path, GOOD)
    ran = run_forked(f"{GUARD}{INTERRUPTED.format(handler)}{SERVED}", {}, tmp_path)
    assert (ran.status, checks(ran), "served" in ran.out) == (status, findings, status == 0)


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


@pytest.mark.parametrize("error", ["TimeoutError", "KeyboardInterrupt"])
@pytest.mark.parametrize("name", ["ROBODJ_PROTECTED_ENV", V1, "RUN_MAIN"])
def test_a_signal_while_a_variable_is_read(tmp_path: Path, name: str, error: str) -> None:
    """An error of a handler is a refusal, an interrupt stays one, and neither has a frame with the environment.

    An error while the status of a refusal is chosen is a refusal too, with the status without an autoreloader.
    """
    keys = BAD if name == "RUN_MAIN" else GOOD | {"ROBODJ_PROTECTED_ENV": "false"}
    ran = run_copy(f"{GUARD}{HOLDS}{AT_A_VARIABLE.format(name, error)}", keys, tmp_path)
    assert ran.out.splitlines()[-1] == f"{3 if name == 'RUN_MAIN' or error == 'TimeoutError' else error} False"


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


def test_a_fork_has_the_values_and_a_refusal_of_its_own(tmp_path: Path) -> None:
    """A child that is forked after the guard has its values, repeats no line, and is refused separately."""
    ran = run_forked(FORKS, WARNED, tmp_path)
    *lines, status = ran.out.splitlines()
    assert (ran.status, status, lines[0].startswith("ALERT: secret.key: format: ")) == (0, "3", True)
    assert checks(ran) == ["near-miss", "near-miss", "format"]


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
statuses = set()
"""
DEEP = """
depth = sys.getrecursionlimit()
while status(down, depth, leaf) != 0:
    depth -= 1
for room in range(1, 90, {}):  # no comprehension, which would be one call deeper
    statuses.add(status(down, depth - room, guard))
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


class TestStack:
    """The stack is nearly full."""

    @pytest.mark.skipif(
        not inspect.isbuiltin(os._exit), reason="coverage ends a process by a function that needs a frame"
    )
    @pytest.mark.parametrize(("keys", "statuses"), [("good", [0, 3]), ("bad", [3])])
    @pytest.mark.parametrize("step", [11, pytest.param(1, marks=full)], ids=["some-depths", "every-depth"])
    def test_in_the_main_thread(self, tmp_path: Path, keys: str, statuses: list[int], step: int) -> None:
        """At any depth where the guard and one call in it fit, bad keys are refused. Good keys start or are refused.

        At a greater depth, Python raises a RecursionError, as if the guard was not called.
        """
        ran = run_forked(f"{GUARD}{STACK}{DEEP.format(step)}", SETS[keys], tmp_path)
        assert ran.out.splitlines()[-1] == str(statuses)

    def test_thread_near_the_limit_ends_the_process(self, tmp_path: Path) -> None:
        """In a thread near the limit, where a SystemExit is swallowed, the process still ends at once."""
        ran = run_forked(f"{GUARD}{STACK}{THREAD}", BAD, tmp_path)
        assert (ran.status, "served" in ran.out) == (3, False)


AT_EXIT = {
    "handler": f"import atexit\n{GUARD}def late():\n    guard()\n    {SERVED}atexit.register(late)\n",
    "destructor": (
        f"import atexit\n{GUARD}class Late:\n    def __del__(self, guard=guard):\n        guard()\n        {SERVED}"
        "late = Late()\natexit.register(globals().clear)\n"
    ),
}


@pytest.mark.parametrize("script", AT_EXIT.values(), ids=AT_EXIT)
@pytest.mark.parametrize("keys", ["good", "bad"])
def test_an_interpreter_that_is_ending(tmp_path: Path, script: str, keys: str) -> None:
    """While the interpreter ends, the lines are written and nothing runs after the guard. The status is the host's."""
    ran = run_forked(script, SETS[keys], tmp_path)
    if keys == "good":
        assert (ran.status, ran.out, ran.err) == (0, "served\n", "")
    else:
        assert_alert_lines(ran.out)


def test_a_half_imported_threading(tmp_path: Path) -> None:
    """If a dependency cannot be imported, the library cannot be imported either."""
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


def test_nothing_runs_after_a_refusal_in_a_subinterpreter(tmp_path: Path) -> None:
    """In a subinterpreter, nothing runs after the guard, or the library cannot be imported. The rest is the host's."""
    ran = run_forked(SUBINTERPRETER, BAD, tmp_path)
    assert (ran.out.splitlines()[-1], "served" in ran.out) == ("failed", False)
