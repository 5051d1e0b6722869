"""The observers: each is a channel through which a key can leave a process, set up as hosts do it.

An observer runs an action and prints all that it can see of the result, on stdout or stderr.
"""

from __future__ import annotations

import asyncio
import atexit
import copy
import functools
import inspect
import io
import json
import logging
import logging.handlers
import multiprocessing
import pickle
import pprint
import sys
import threading
import traceback
import unittest
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


Action = Callable[[], object]


def run(action: Action) -> object:
    """Run an action, and return its result, or what it raised."""
    try:
        return action()
    except BaseException as error:
        return error


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all errors in its chain."""
    todo, seen = [error], set()
    while todo:
        each = todo.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            todo += [other for other in (each.__context__, each.__cause__) if other is not None]
            todo += getattr(each, "exceptions", ())


# Uncaught


def uncaught(action: Action) -> None:
    """Let the exception end the interpreter."""
    print(repr(action()))
    sys.exit()


def uncaught_with_a_hook(action: Action) -> None:
    """Print locals in `sys.excepthook`, as crash reporters do."""
    sys.excepthook = lambda *error: print_with_locals(error[1])
    sys.unraisablehook = lambda unraisable: print_with_locals(unraisable.exc_value)
    action()
    sys.exit()


def at_exit(action: Action) -> None:
    """Run the action when the interpreter ends."""
    atexit.register(action)
    sys.exit()


def unraisable(action: Action) -> None:
    """Run the action where an exception cannot be raised."""

    class Dying:
        def __del__(self) -> None:
            action()

    Dying()


# The exception


def print_with_locals(error: BaseException | None) -> None:
    """Print a traceback with the locals of every frame."""
    if error is not None:
        each = traceback.TracebackException.from_exception(error, capture_locals=True)
        print("".join(each.format()))


def exception_chain(action: Action) -> None:
    """Print every error of the chain, in every way that it can be printed."""
    outcome = run(action)
    if isinstance(outcome, BaseException):
        for error in chain(outcome):
            print(repr(error), error, error.args, vars(error), getattr(error, "__notes__", None))
            for tell in ("errors", "json"):
                if hasattr(error, tell):
                    print(getattr(error, tell)())
    else:
        print(repr(outcome), outcome)


def traceback_with_locals(action: Action) -> None:
    """Format the traceback with all locals, also of errors that `from None` hides."""
    outcome = run(action)
    if isinstance(outcome, BaseException):
        for error in chain(outcome):
            print_with_locals(error)
    else:
        print(outcome)


def exception_group(action: Action) -> None:
    """Raise the error in a task group."""

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(lambda: None))
            group.create_task(_run_in_task(action))

    outcome = run(lambda: asyncio.run(main(), debug=True))
    if isinstance(outcome, BaseException):
        print_with_locals(outcome)


async def _run_in_task(action: Action) -> object:
    return action()


# Logs


def logging_exception(action: Action) -> None:
    """Log the error with the standard library, at the most detailed level."""
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
    logging.captureWarnings(capture=True)
    log = logging.getLogger("host")
    try:
        log.info("started: %r", action())
    except BaseException:
        log.exception("refused", stack_info=True)


class _Records(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print({**vars(record), "exc_info": None})
        sys.stdout.buffer.write(logging.handlers.SocketHandler("localhost", None).makePickle(record))


def log_records(action: Action) -> None:
    """Print the records of a structlog pipeline over the standard library, and their pickles."""
    logging.basicConfig(level=logging.DEBUG, handlers=[_Records()])
    structlog.configure(
        logger_factory=structlog.stdlib.LoggerFactory(),
        processors=[structlog.stdlib.add_log_level, structlog.stdlib.render_to_log_kwargs],
    )
    log = logging.getLogger("host")
    try:
        log.info("started: %r", action())
    except BaseException:
        log.exception("refused")


def _log_by_structlog(processors: list[Any], action: Action) -> None:
    """Log the error with structlog. Without processors, it has its defaults."""
    if processors:
        structlog.configure(processors)
    log = structlog.get_logger()
    try:
        log.info("started", secrets=action())
    except BaseException:
        log.exception("refused", stack_info=True)


_FIELDS = [structlog.processors.add_log_level, structlog.processors.StackInfoRenderer()]
_AS_JSON = structlog.processors.JSONRenderer()
STRUCTLOG: dict[str, tuple[list[Any], str]] = {
    # The defaults show locals where rich is installed.
    "structlog_unconfigured": ([], "leak_by_local"),
    "structlog_console": (
        [*_FIELDS, structlog.dev.set_exc_info, structlog.dev.ConsoleRenderer()],
        "leak_by_local",
    ),
    "structlog_json": ([*_FIELDS, structlog.processors.format_exc_info, _AS_JSON], "leak_by_text"),
    # These tracebacks have locals.
    "structlog_dict_tracebacks": ([structlog.processors.dict_tracebacks, _AS_JSON], "leak_by_local"),
}
"""The processors of a structlog pipeline, and the action of the narrowest leak that it shows."""


# Crash reports


@functools.cache
def _print_once(text: str) -> None:
    print(text)


def _print_frames(frame: FrameType | None) -> None:
    while frame is not None:
        _print_once(f"{frame.f_code.co_qualname} { {name: _repr(value) for name, value in frame.f_locals.items()} }")
        frame = frame.f_back


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # an object that is not complete yet
        return repr(error)


def stack_at_an_event(action: Action) -> None:
    """Print the locals of every frame that calls a structlog pipeline."""

    def look(_logger: object, _method: str, event: Any) -> str:
        _print_frames(sys._getframe())
        return repr(event)

    structlog.configure(processors=[look])
    run(action)


class _Looking(io.TextIOBase):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        sys.stdout, looking = self._stream, sys.stdout
        try:
            _print_frames(sys._getframe())
        finally:
            sys.stdout = looking
        self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


def stack_at_a_line(action: Action) -> None:
    """Print the locals of every frame that writes to stdout."""
    sys.stdout = _Looking(sys.stdout)
    run(action)


def everything(action: Action) -> None:
    """Print every frame that logs or writes, the result or the error, and all objects that can be reached from them.

    It is the strongest observer that needs one process only. The fast run shows it every scenario.
    """
    kept: list[object] = []
    out, sys.stdout = sys.stdout, _Looking(sys.stdout)
    stack_at_an_event(lambda: kept.append(run(action)))
    sys.stdout = out
    for observe in (exception_chain, traceback_with_locals, attributes):
        observe(functools.partial(_again, kept))


def _again(kept: list[Any]) -> object:
    if isinstance(kept[0], BaseException):
        raise kept[0]
    return kept[0]


# Test runners


def unittest_locals(action: Action) -> None:
    """Let a test fail under unittest with locals."""

    class Test(unittest.TestCase):
        def test_it(self) -> None:
            result = action()
            assert result is None, result

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Test)
    unittest.TextTestRunner(tb_locals=True, stream=sys.stdout, verbosity=2).run(suite)


# Elsewhere


def in_a_thread(action: Action) -> None:
    """Run the action in a thread, whose hook prints locals."""
    threading.excepthook = lambda error: print_with_locals(error.exc_value)
    thread = threading.Thread(target=action)
    thread.start()
    thread.join()


def in_a_thread_pool(action: Action) -> None:
    """Run the action in a pool of threads."""
    with ThreadPoolExecutor(1) as pool:
        future: Future[object] = pool.submit(action)
        print_with_locals(future.exception())
        print(future, future.result())


def in_a_process_pool(action: Action) -> None:
    """Run the action in a pool of processes, which pickles the result."""
    warnings.simplefilter("ignore", DeprecationWarning)  # of fork in a process with threads: the pool starts one
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        future: Future[object] = pool.submit(action)
        print_with_locals(future.exception())
        print(future, vars(future), future.result())


def in_an_event_loop(action: Action) -> None:
    """Run the action in a callback of an event loop, whose handler prints the error."""
    loop = asyncio.new_event_loop()
    loop.set_debug(enabled=True)
    loop.set_exception_handler(lambda _loop, context: print_with_locals(context.get("exception")))
    loop.call_soon(action)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()


# The result


def _reachable(value: object, depth: int = 4) -> Iterator[object]:
    """Yield an object and all objects in its attributes and items."""
    yield value
    if depth and not isinstance(value, (str, bytes, type, int)):
        inner = list(getattr(value, "__dict__", {}).values())
        inner += [getattr(value, name, None) for name in getattr(value, "__slots__", ())]
        inner += [*value.keys(), *value.values()] if isinstance(value, dict) else []
        inner += value if isinstance(value, (list, tuple, set, frozenset)) else []
        inner += [value.__context__, value.__cause__] if isinstance(value, BaseException) else []
        for each in inner:
            yield from _reachable(each, depth - 1)


def attributes(action: Action) -> None:
    """Print `vars` of the result, and of all objects that can be reached from it."""
    for each in _reachable(run(action)):
        print(repr(each), str(each), getattr(each, "__dict__", None))


def pickled(action: Action) -> None:
    """Pickle the result, also an exception and its chain."""
    outcome = run(action)
    for each in [outcome, *(chain(outcome) if isinstance(outcome, BaseException) else ())]:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            try:
                sys.stdout.buffer.write(pickle.dumps(each, protocol))
            except Exception as error:  # a refusal is printed too
                print_with_locals(error)
        try:
            sys.stdout.buffer.write(pickle.dumps(vars(each)))
        except Exception as error:
            print_with_locals(error)


def members(action: Action) -> None:
    """Print every member of the result and of its copies."""
    outcome = run(action)
    warnings.simplefilter("ignore")  # pydantic's old names
    for each in (outcome, copy.copy(outcome), copy.deepcopy(outcome)):
        for name, member in inspect.getmembers(each):
            print(name, _repr(member), None if callable(member) else getattr(member, "__dict__", None))


def dumps(action: Action) -> None:
    """Serialize the result in every usual way."""
    outcome: Any = run(action)
    ways: list[Callable[[Any], object]] = [
        repr,
        str,
        lambda each: pprint.pformat(each, width=20),
        lambda each: json.dumps(each, default=vars),
        lambda each: json.dumps(each, default=str),
        dict,
        lambda each: each.model_dump(),
        lambda each: each.model_dump(mode="json"),
        lambda each: each.model_dump_json(),
        lambda each: each.model_json_schema(),
        lambda each: each.model_copy(deep=True),
        lambda each: each.as_dict(),
        lambda each: each.__getstate__(),
        lambda each: each.__reduce_ex__(4),
        lambda each: list(each.__rich_repr__()),
        lambda each: [hash(field) for field in vars(each).values()],
        lambda each: [format(field) for field in vars(each).values()],
        lambda each: [field + "" for field in vars(each).values()],
        lambda each: each._asdict(),
        list,
        json.dumps,
    ]
    for way in ways:
        shown = run(functools.partial(way, outcome))
        print(shown)
        if isinstance(shown, BaseException):
            print_with_locals(shown)


OBSERVERS: dict[str, tuple[Callable[[Action], None], str]] = {
    each.__name__: (each, leak)
    for each, leak in (
        (uncaught, "leak_by_text"),
        (uncaught_with_a_hook, "leak_by_local"),
        (at_exit, "leak_by_text"),
        (unraisable, "leak_by_text"),
        (exception_chain, "leak_by_chain"),
        (traceback_with_locals, "leak_by_local"),
        (exception_group, "leak_by_local"),
        (logging_exception, "leak_by_debugging"),
        (log_records, "leak_by_text"),
        (stack_at_an_event, "leak_by_line"),
        (stack_at_a_line, "leak_by_line"),
        (everything, "leak_by_local"),
        (unittest_locals, "leak_by_local"),
        (in_a_thread, "leak_by_local"),
        (in_a_thread_pool, "leak_by_local"),
        (in_a_process_pool, "leak_by_raw_result"),
        (in_an_event_loop, "leak_by_local"),
        (attributes, "leak_by_result"),
        (pickled, "leak_by_result"),
        (members, "leak_by_result"),
        (dumps, "leak_by_result"),
    )
}
OBSERVERS |= {name: (functools.partial(_log_by_structlog, how), leak) for name, (how, leak) in STRUCTLOG.items()}
"""Every observer, and the action of the narrowest leak that it sees."""

STRONGEST = "everything"
SEEN_BY_THE_STRONGEST = ("leak_by_text", "leak_by_chain", "leak_by_line", "leak_by_result")
"""Actions of other leaks, all of which the strongest observer sees."""


_WITHOUT_LOCALS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
_PLAIN = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
ADVISED: dict[str, tuple[Callable[[Action], None], str]] = {
    "console": (functools.partial(_log_by_structlog, [_PLAIN]), "leak_by_local"),
    "dict_tracebacks": (
        functools.partial(_log_by_structlog, [structlog.processors.ExceptionRenderer(_WITHOUT_LOCALS), _AS_JSON]),
        "leak_by_local",
    ),
}
"""Hosts that are set up as SECURITY.md says, and the action of a leak that none of them shows."""
