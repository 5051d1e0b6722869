"""The actions: what the process of a cell does. Most call the library as a host does; some call a guard that leaks.

No frame here binds a key to a name, so the library has shown every key that an observer finds.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import inspect
import io
import itertools
import json
import logging
import os
import pickle
import pydoc
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock, RLock, Thread
from types import FrameType
from typing import Annotated, Any, NoReturn, Self
from unittest.mock import patch

import asyncpg as asyncpg_driver
import cloudpickle
import dill
import rich
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder
from psycopg_pool import ConnectionPool
from pydantic import (
    BaseModel,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings
from rich.console import Console
from rich.pretty import Pretty
from sqlalchemy import create_engine

import robodj_secretguard
from robodj_secretguard import Material, RuntimeSecrets, Secret, SecretPolicy, SecretSettings, check, guard
from robodj_secretguard.adapters import asyncpg, psycopg, sqlalchemy
from robodj_secretguard.adapters.prometheus import SecretCollector
from robodj_secretguard.cli import main
from robodj_secretguard.running import subscriptions
from robodj_secretguard.running.heartbeat import send_heartbeat
from robodj_secretguard.running.refresh import Refresh, _read_again
from robodj_secretguard.running.stages import Locks
from robodj_secretguard.running.threads import Writing
from robodj_secretguard.scan import search
from robodj_secretguard.settings import running_report, store_of
from robodj_secretguard.startup.inputs import SECRETS_DIR
from robodj_secretguard.startup.time_rules import EARLIEST_CLOCK

V1 = "ROBODJ_SECRET_KEY"
NOBODY = 65534


def argument() -> str:
    """Return the argument that the scenario wrote for the action."""
    return Path("arguments").read_text(encoding="utf-8")


def send_a_heartbeat() -> object:
    """Call `guard()`, and say which keys the process runs on."""
    secrets = guard()
    return [secrets, send_heartbeat(secrets), running_report(secrets)]  # type: ignore[func-returns-value]


class _Model(BaseModel):
    """A host's own model, with a field that takes only a secret."""

    key: Secret


@dataclass
class _Data:
    key: Secret


class _Slots:
    __slots__ = ("key",)

    def __init__(self, key: Secret) -> None:
        self.key = key


class _Holder:
    """An ordinary object: `vars()` shows what it has."""

    def __init__(self, key: Secret) -> None:
        self.key = key
        self.get = key.get_secret_value
        self.read = lambda: key


def _inspected(value: object) -> str:
    """Return what rich shows of an object, with all that is private."""
    console = Console(file=io.StringIO(), width=200)
    rich.inspect(value, console=console, all=True, value=False)
    pretty = Pretty(value, expand_all=True)
    console.print(pretty)
    return re.sub("0x[0-9a-f]+", "", console.file.getvalue())  # type: ignore[attr-defined]


SHOWING: tuple[Callable[[Any], object], ...] = (
    vars,
    repr,
    str,
    "{}".format,
    "{!r:>99}".format,
    dict,
    list,
    bytes,
    hash,
    bool,
    copy.copy,
    copy.deepcopy,
    pickle.dumps,
    cloudpickle.dumps,
    dill.dumps,
    json.dumps,
    asdict,
    _inspected,
    pydoc.render_doc,
    inspect.getmembers,
    lambda each: {name: getattr(each, name) for name in dir(each) if name != "__init_subclass__"},
    lambda each: json.dumps(each, default=vars),
    lambda each: json.dumps(each, default=repr),
    lambda each: each.__getstate__(),
    lambda each: each.__reduce_ex__(4),
    lambda each: each.model_dump(),
    lambda each: each.model_dump(mode="json"),
    lambda each: each.model_dump_json(),
    lambda each: each.model_copy(deep=True),
    lambda each: type(each).model_json_schema(),
    lambda each: TypeAdapter(type(each)).dump_python(each, mode="json"),
    lambda each: TypeAdapter(Any).dump_json({"key": each}),
    lambda each: each + "",
    lambda each: f"{each}",
    lambda each: [*each],
    lambda each: each[:6],
)
"""What a host, a debugger or a crash reporter does with an object."""


def use_secret() -> object:
    """Use every method of a secret, hold it in each kind of object, show each of them, and make all of it fail."""
    secrets = guard()
    secret = secrets.secret_key
    secret.on_change(_fail_with_a_key)
    derived = secret.derive(b"purpose")
    outcomes: list[object] = [secret, secret.accepted(), derived, derived.accepted(), secret.current, secret.stored()]
    outcomes += [secret.verify(os.environ.get(name)) for name in (V1, f"{V1}_NEXT", f"{V1}_PREVIOUS")]
    outcomes += [secret.verify(None), secret.verify(b"\xff"), secret.find("no such key"), store_of(secrets)]
    holders = [_Model(key=secret), _Data(secret), _Slots(secret), _Holder(secret), [secret], {"key": secret}]
    with secrets.at_once() as now:
        holders += [now, now.secret_key]
        parts = [secret.get_secret_value, secret.verify, store_of(secrets).keys, type(secrets)]
        pairs = itertools.product([*outcomes, *holders, *parts], SHOWING)
        told = [_told(functools.partial(way, each)) for each, way in pairs]
    failing: list[Callable[[], object]] = [
        lambda: secret == os.environ[V1],
        lambda: os.environ[V1].encode() != derived,
        lambda: secret.derive(os.environ[V1]),  # type: ignore[arg-type]
        lambda: _Model(key=os.environ[V1]),
        lambda: _Model.model_validate({"key": os.environ[V1]}),
        lambda: _Model.model_validate_json(json.dumps({"key": os.environ[V1]})),
        lambda: TypeAdapter(Secret | None).validate_python(os.environ[V1]),
        lambda: secret.current._replace(kid=os.environ[V1], unknown=1),
        lambda: secret.find(os.environ[V1], revoked=os.environ[V1]),  # type: ignore[arg-type]
    ]
    return [*outcomes, *holders, *told, *map(_told, failing)]


def _told(action: Callable[[], object]) -> object:
    """Return what an action returns, or the traceback of its error. Print the traceback."""
    try:
        return action()
    except Exception as error:  # noqa: BLE001 - of whatever kind
        traceback.print_exception(error)
        return error


def scrape() -> object:
    """Scrape a collector in both formats, and let its check fail. Then make collectors of other things."""
    collector = SecretCollector(guard())
    registry = CollectorRegistry()
    registry.register(collector)
    outcomes: list[object] = [collector, generate_latest(registry).decode(), [*collector.collect()], vars(collector)]
    encode, _ = choose_encoder("application/openmetrics-text")
    sys.stdout.write(encode(registry).decode())
    for error in (LookupError, KeyboardInterrupt, SystemExit):

        def fail(*_: object, error: type[BaseException] = error, **__: object) -> NoReturn:
            raise error(os.environ[V1])

        with patch("robodj_secretguard.adapters.prometheus.check", fail):
            outcomes.append(_outcome(lambda: [*collector.collect()]))
    outcomes.append(_outcome(lambda: SecretCollector(os.environ[V1])))  # type: ignore[arg-type]
    outcomes.append(_outcome(lambda: SecretCollector(guard(), config_dir=os.environ[V1])))
    outcomes.append(_outcome(lambda: [*outcomes[-1].collect()]))  # type: ignore[attr-defined]
    return outcomes


def _outcome(action: Callable[[], object]) -> object:
    """Return what an action returns or raises."""
    try:
        return action()
    except BaseException as error:  # noqa: BLE001 - also an interrupt
        traceback.print_exception(error)
        return error


class _Shop(SecretSettings):
    """A service with a database."""

    database_url: Annotated[Secret, SecretPolicy(material=Material.url())]


def log_in_by_drivers() -> object:
    """Let each driver log in with a database that nobody serves, and fail with all that a service has then."""
    url = guard(_Shop).database_url
    engine = sqlalchemy.follow(create_engine("postgresql+psycopg://", echo="debug"), url)
    pool = psycopg.follow(ConnectionPool(open=False), url)
    made = asyncpg.follow(functools.partial(asyncpg_driver.create_pool, min_size=1), url)

    async def open_pool() -> None:
        await made

    errors: list[Exception] = []
    for log_in in (engine.connect, pool.connection_class.connect, lambda: asyncio.run(open_pool())):
        try:
            log_in()
        except Exception as error:  # noqa: BLE001 - it is what is shown
            errors.append(error)
    shown = [engine.url, engine.pool, pool.kwargs, pool.get_stats(), vars(engine), vars(pool)]
    raise ExceptionGroup(f"{shown}", errors)


def guard_a_secrets_directory() -> object:
    """Call `guard()` and `check()` with the volume that the scenario planted."""
    os.environ[SECRETS_DIR] = os.path.abspath("given")
    return [check(), guard()]


def _fail_with_a_key(_secret: object) -> NoReturn:
    raise LookupError(os.environ[V1])


def _guard_a_live_directory() -> RuntimeSecrets:
    """Call `guard()` with the volume that the scenario planted, and let the functions of a change fail."""
    os.environ[SECRETS_DIR] = os.path.abspath(argument())
    secrets = guard()
    secrets.secret_key.on_change(_fail_with_a_key)
    vars(subscriptions).update(start=_start_and_join)
    return secrets


def _versions() -> list[str]:
    return sorted(path.name for path in Path(argument()).glob("..[0-9]*"))


def _publish(version: str) -> None:
    new = Path(argument(), "..new")
    new.symlink_to(version)
    new.replace(new.with_name("..data"))


def _reader_of(secrets: RuntimeSecrets) -> Refresh:
    reader = store_of(secrets).reader
    assert isinstance(reader, Refresh)
    return reader


def _start_and_join(function: Callable[..., object], *arguments: object) -> bool:
    """Run a function in another thread to its end, so that the order of the lines is always the same."""
    thread = Thread(target=function, args=arguments)
    thread.start()
    thread.join()
    return True


def refresh_on_each_version() -> object:
    """Publish each version that the scenario planted, read it twice, and use the secrets."""
    secrets = _guard_a_live_directory()
    reader, ring = _reader_of(secrets), secrets.secret_key
    outcomes: list[object] = [secrets, store_of(secrets), reader, ring]
    for version in _versions():
        _publish(version)
        for each in (ring, ring.derive(b"purpose")):
            outcomes += [_outcome(secrets.refresh), _outcome(lambda each=each: each.current), each.accepted()]  # type: ignore[misc]
            outcomes += [each.stored(), each.verify(os.environ[V1]), reader.findings, _outcome(reader.report_late)]
    for error in (LookupError, KeyboardInterrupt):

        def fail(*_: object, error: type[BaseException] = error) -> NoReturn:
            raise error(os.environ[V1])

        with patch("robodj_secretguard.startup.directory.read_directory", fail):
            outcomes.append(_outcome(secrets.refresh))
    return outcomes


def refresh_by_a_thread() -> object:
    """Let a thread read each version that the scenario planted, and send events."""
    secrets = _guard_a_live_directory()
    reader = _reader_of(secrets)
    for version in _versions():
        _publish(version)
        _start_and_join(_read_again, reader)
    return [secrets, reader, store_of(secrets), send_heartbeat(secrets)]  # type: ignore[func-returns-value]


def run_commands() -> object:
    """Run several commands, with the arguments that the scenario wrote."""
    return [main(json.loads(argument())[number]) for number in range(len(json.loads(argument())))]


def run_commands_with_input() -> object:
    """Run several commands. Each one reads the scenario's file `input` on stdin."""
    outcomes = []
    for number in range(len(json.loads(argument()))):
        with open("input", "rb") as given:
            os.dup2(given.fileno(), 0)
        outcomes.append(main(json.loads(argument())[number]))
    return outcomes


def run_commands_in_projects() -> object:
    """Run commands in each project that the scenario made."""
    commands = json.loads(argument())
    outcomes = []
    for project in sorted(Path().glob("project-*")):
        with contextlib.chdir(project):
            outcomes += [main(each) for each in commands]
    return outcomes


def run_commands_as_nobody() -> object:
    """Run commands as a user who may not read every file."""
    "".encode("unicode_escape")  # loads the codec before the user changes, who may not read its module
    if os.geteuid() == 0:
        os.setuid(NOBODY)
    return run_commands()


def run_commands_that_fail() -> object:
    """Run commands. Interrupt each one, then make it fail while it handles what may be a key."""
    outcomes = []
    for error in (KeyboardInterrupt, LookupError, SystemExit):

        def fail(candidate: bytes, error: type[BaseException] = error) -> NoReturn:
            raise error(candidate.decode())

        with patch.object(search, "digest", fail):
            outcomes.append(run_commands())
    return outcomes


class _Terminal(io.TextIOBase):
    def __init__(self, number: int) -> None:
        self._number = number

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return os.write(self._number, text.encode())


def run_commands_on_a_terminal() -> object:
    """Run commands on a terminal, where text is coloured."""
    sys.stdout, sys.stderr = _Terminal(1), _Terminal(2)
    return run_commands()


def guard_a_model_with_a_set_up() -> object:
    """Call `guard()` with a model that names the scenario's config directory and requires a revocation list there."""

    class Strict(
        RuntimeSecrets, config_dir=os.path.abspath(argument()), file_fallback=False, require_revocation_list=True
    ):
        pass

    return guard(Strict)


class _Hostile(dict[str, str]):
    def __getitem__(self, name: str) -> str:
        raise LookupError(os.environ[name])


class _Interrupting(dict[str, str]):
    def __contains__(self, name: object) -> bool:
        if name == "ROBODJ_SECRET_V2_KEY":
            raise KeyboardInterrupt
        return super().__contains__(name)


def guard_as_nobody() -> object:
    """Call `guard()` as a user who may read no file."""
    if os.geteuid() == 0:
        os.setuid(NOBODY)
    return guard()


def guard_with_debugging() -> object:
    """Call `guard()` while pydantic-settings writes debug output."""
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, force=True)
    os.environ["PYDANTIC_SETTINGS_DEBUG"] = "1"
    return guard()


def guard_while_handling() -> object:
    """Call `guard()` while the host handles an error."""
    try:
        sys.modules["nothing"]
    except KeyError:
        return guard()
    return None


def guard_interrupted_by_a_signal() -> object:
    """Interrupt `guard()` with a signal while it reads a file."""
    read = os.read

    def interrupted(*arguments: Any) -> NoReturn:
        os.read = read
        read(*arguments)
        raise KeyboardInterrupt

    os.read = interrupted
    return guard()


_PACKAGE = os.path.dirname(robodj_secretguard.__file__)


class _InterruptingAt:
    """A trace function that interrupts the library, or some of its modules, at one line."""

    def __init__(self, line: int, files: tuple[str, ...]) -> None:
        self.remaining, self._files = line, files

    def __call__(self, frame: FrameType, event: str, _: object) -> _InterruptingAt | None:
        if not frame.f_code.co_filename.startswith(self._files):
            return None
        self.remaining -= event == "line"
        if self.remaining == 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return self


def _interrupt_at_each_line(action: Callable[[], object], *modules: str) -> None:
    """Interrupt an action at each line of the library, or of some modules, and print the locals of every frame."""
    known: set[str] = set()
    files = tuple(os.path.join(_PACKAGE, module) for module in modules or ("",))
    for line in itertools.count(1):
        interrupting = _InterruptingAt(line, files)
        sys.settrace(interrupting)
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - a refusal, an interrupt, and all else
            sys.settrace(None)
            error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # all frames but this one
            told = traceback.TracebackException.from_exception(error, capture_locals=True)
            for text in [text for each in (told, told.__context__, told.__cause__) if each for text in each.format()]:
                if (but_for_numbers := re.sub("sgfp1:[0-9a-f]+|0x[0-9a-f]+|[0-9]+", "", text)) not in known:
                    known.add(but_for_numbers)
                    sys.stdout.write(text)
            sys.stdout.flush()
        sys.settrace(None)
        if interrupting.remaining > 0:
            break


def be_interrupted_everywhere() -> object:
    """Interrupt a refusal at each line.

    The last line is the refusal itself: an interrupt there ends the process with the guard's status.
    """
    return _interrupt_at_each_line(lambda: guard(HOSTS["field-chained"]))  # type: ignore[func-returns-value]


def be_interrupted_in_a_refresh() -> object:
    """Interrupt a switch, and a read that changes nothing, at each line."""
    secrets, versions = _guard_a_live_directory(), itertools.cycle(_versions())
    modules = ("running/", "startup/directory.py", "settings.py")
    ring = secrets.secret_key

    def refresh() -> None:
        Locks.deciding, Writing.lock = Lock(), RLock()  # as an interrupt can come before the `try`
        for _ in range(2):
            _publish(next(versions))
            secrets.refresh()
            ring.accepted()

    return _interrupt_at_each_line(refresh, *modules)  # type: ignore[func-returns-value]


def write_everything() -> object:
    """Print all that the guard, a report and the command line write."""
    for each in (guard, check, RuntimeSecrets):
        try:
            sys.stdout.write(f"{each()!r}\n")
        except (SystemExit, ValidationError) as refused:
            sys.stdout.write(f"{refused!r}\n")
    sys.stdout.flush()
    return [main(["check"]), main(["check", "--strict", "--format", "json"])]


def assign() -> object:
    """Assign to objects that cannot be changed."""
    guard().secret_key = os.environ[V1]  # type: ignore[misc, assignment]
    return None


def delete() -> object:
    """Delete attributes of objects that cannot be changed."""
    del guard().secret_key
    return None


class Refused(BaseException):
    """An error of the host that `except Exception` does not catch."""


def _with_note(text: str) -> BaseException:
    error = Refused(text)
    error.add_note(text)
    return error


def _chained(text: str) -> BaseException:
    error = RuntimeError(text)
    error.__cause__ = LookupError(text)
    return error


# Each validator binds the key, so that a frame of the host has it.
def _field_validator(make: Callable[[str], BaseException]) -> type[RuntimeSecrets]:
    class Host(RuntimeSecrets):
        @field_validator("secret_v2_key", mode="after")
        @classmethod
        def _refuse(cls, _: SecretStr, info: ValidationInfo) -> SecretStr:
            text = info.data["secret_key"].get_secret_value()
            raise make(text)

    return Host


def _model_validator(make: Callable[[str], BaseException]) -> type[RuntimeSecrets]:
    class Host(RuntimeSecrets):
        @model_validator(mode="after")
        def _refuse(self) -> Self:
            text = self.secret_key.get_secret_value()
            raise make(text)

    return Host


def _wrap_validator(make: Callable[[str], BaseException]) -> type[RuntimeSecrets]:
    class Host(RuntimeSecrets):
        @model_validator(mode="wrap")
        @classmethod
        def _refuse(cls, data: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
            text = handler(data).secret_key.get_secret_value()
            raise make(text)

    return Host


class _Returning(RuntimeSecrets):
    @field_validator("secret_key", mode="after")
    @classmethod
    def _strip(cls, value: SecretStr) -> str:
        return value.get_secret_value().strip()


class _ReturningAndRaising(_Returning):
    @model_validator(mode="after")
    def _refuse(self) -> Self:
        raise ValueError


HOSTS: dict[str, type[RuntimeSecrets]] = {
    "returned-text": _Returning,
    "returned-text-and-error": _ReturningAndRaising,
    "field-value-error": _field_validator(ValueError),
    "field-assertion": _field_validator(AssertionError),
    "field-custom-error": _field_validator(lambda text: PydanticCustomError("host", "{text}", {"text": text})),
    "field-chained": _field_validator(_chained),
    "model-value-error": _model_validator(ValueError),
    "model-notes": _model_validator(_with_note),
    "model-interrupt": _model_validator(KeyboardInterrupt),
    "model-group": _model_validator(lambda text: BaseExceptionGroup(text, [ValueError(text), KeyboardInterrupt(text)])),
    "wrap-value-error": _wrap_validator(ValueError),
    "wrap-exit": _wrap_validator(SystemExit),
}
"""Models of a host, each with a validator that fails with the first key in its text, its locals and its chain."""


# Each of these is one call.
CALLS: dict[str, Callable[[], object]] = {
    "call_guard": guard,
    "call_check": check,
    "make_model": RuntimeSecrets,
    "run_gate": lambda: main(json.loads(argument())),
    "guard_a_named_directory": lambda: guard(config_dir=argument()),
    "check_a_named_directory": lambda: check(config_dir=argument()),
    "check_a_mapping": lambda: check(environ={**os.environ}),
    "check_a_mapping_with_bytes": lambda: check(environ={**os.environ, V1: os.environb[V1.encode()]}),  # type: ignore[dict-item]
    # Check a mapping that raises an error with a value in its text.
    "check_a_mapping_that_raises": lambda: check(environ=_Hostile(os.environ)),
    # Interrupt a check after it has read the first key.
    "check_interrupted": lambda: check(environ=_Interrupting(os.environ)),
    "check_long_ago": lambda: check(now=EARLIEST_CLOCK - timedelta(days=1)),
    "check_now_without_zone": lambda: check(now=datetime.now(UTC).replace(tzinfo=None)),
    "guard_with_a_wrong_status": lambda: guard(exit_status=0),
    "copy_changed": lambda: guard().model_copy(update={"secret_key": os.environ[V1]}),
    "construct": lambda: RuntimeSecrets.model_construct(secret_key=os.environ[V1]),  # type: ignore[arg-type]
    # Copy an object that cannot be changed, with a change, by pydantic's old name of the method.
    "copy_changed_by_its_old_name": lambda: guard().copy(update={"secret_key": os.environ[V1]}),
    "guard_a_key": lambda: guard(os.environ[V1]),  # type: ignore[call-overload]
    # Pass a key as the model and as the time to `check()`.
    "check_a_key": lambda: check(os.environ[V1], now=os.environ[V1], config_dir=os.environ[V1]),  # type: ignore[arg-type]
    "guard_with_a_key_as_status": lambda: guard(exit_status=os.environ[V1], config_dir=os.environ[V1]),  # type: ignore[call-overload]
    "validate_a_key": lambda: RuntimeSecrets.model_validate(os.environ[V1]),
    "validate_json": lambda: RuntimeSecrets.model_validate_json(json.dumps({"_judgement": [os.environ[V1]]})),
    "make_model_of_a_judgement": lambda: RuntimeSecrets(_judgement=(os.environ[V1],)),  # type: ignore[call-arg]
    # Pass values to the model, as an ordinary settings model accepts them.
    "make_model_of_values": lambda: RuntimeSecrets(secret_key=os.environ[V1], secret_v2_key=SecretStr(os.environ[V1])),
    "guard_host": lambda: guard(HOSTS[argument()]),
    "check_host": lambda: check(HOSTS[argument()]),
    "make_host_model": lambda: HOSTS[argument()](),  # noqa: PLW0108 - the process has no argument yet
}


# These guards leak, each in one way. OBSERVERS names the guard whose key each observer must find.


class Stock(BaseSettings):
    """A settings model without any protection."""

    robodj_secret_key: SecretStr

    @field_validator("robodj_secret_key")
    @classmethod
    def _refuse(cls, value: SecretStr) -> SecretStr:
        if "REFUSE" in os.environ:
            msg = "refused"
            raise ValueError(msg)
        return value


def leak_by_text() -> object:
    """Raise an error with a key in its text."""
    raise RuntimeError(os.environ[V1])


def leak_by_local() -> object:
    """Raise an error without a key in its text, from a frame that holds a key."""
    key = os.environ[V1]
    msg = "a constant"
    raise RuntimeError(msg) if key else ValueError(msg)


def leak_by_chain() -> object:
    """Exit while an error is handled whose `errors()` have a key."""
    os.environ["REFUSE"] = "1"
    try:
        return Stock(robodj_secret_key=os.environ[V1])
    except ValidationError:
        raise SystemExit(3) from None


def leak_by_line() -> object:
    """Log a constant line, from a frame that holds a key."""
    key = os.environ[V1]
    structlog.get_logger().critical("a constant")
    return sys.stdout.write("a constant\n" if key else "")


def leak_by_result() -> object:
    """Return a settings model without any protection."""
    return Stock(robodj_secret_key=os.environ[V1])


def leak_by_raw_result() -> object:
    """Return a key."""
    return {"key": os.environ[V1]}


def leak_by_debugging() -> object:
    """Log what was read, at the most detailed level."""
    logging.getLogger("settings").debug("%r", os.environ[V1])
    return True


def perform(name: str) -> object:
    """Do what an action of this name does. Unlike the calls, it can be sent to another process."""
    return (CALLS.get(name) or globals()[name])()
