"""Bypass hunting: what is done by mistake or in a hurry does not start a service with a bad key.

Code that deliberately builds a way around the guard is out of scope (`SECURITY.md`): a tracer, a replaced built-in, a
model whose `secret_policies` is set anew after the class was made.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import V1, V2, run
from processes import (
    BAD,
    GOOD,
    GUARD,
    SERVED,
    SERVICE,
    SETS,
    Case,
    assert_alert_lines,
    checks,
    host_env,
    run_script,
    table,
)

from robodj_secretguard.cli.output import PASSED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Ran

EXAMPLE = Path(__file__).parents[2] / "examples" / "robodj_service"
MODEL = f"""{GUARD}
from datetime import timedelta
from typing import Annotated, ClassVar
from pydantic import BaseModel, Field, SecretStr, create_model, field_validator, model_validator
from robodj_secretguard import RuntimeSecrets, SecretPolicy, SecretSettings
OWN = Annotated[SecretStr, SecretPolicy(name="own.key", variable="ROBODJ_OWN_KEY", owner="Us", backup_owner="Them",
    cadence=timedelta(days=9), warn_before=timedelta(days=1))]
DEV = SecretStr("dev")
"""
"""How a service begins that declares a model of its own."""


def assert_refused(ran: Ran) -> None:
    """Make sure that a process ended as a refusal of `BAD` does, and did nothing else."""
    assert (ran.status, ran.err) == (3, "")
    assert_alert_lines(ran.out)


LOOSE = {
    "nothing": "class Ours(SecretSettings): pass",
    "default": "class Ours(RuntimeSecrets):\n    own: OWN = DEV",
    "default-in-the-annotation": "class Ours(RuntimeSecrets):\n    own: Annotated[OWN, Field(default=DEV)]",
    "default-of-a-child": "class Base(RuntimeSecrets):\n    own: OWN\nclass Ours(Base):\n    own: OWN = DEV",
    "default-of-a-deferred-model": "class Ours(RuntimeSecrets, defer_build=True):\n    own: OWN = DEV",
    "created-with-a-default": "create_model('Ours', __base__=RuntimeSecrets, own=(OWN, DEV))",
    "optional": "class Ours(RuntimeSecrets):\n    own: OWN | None",
    "unresolved": "class Ours(RuntimeSecrets):\n    own: 'Later'",
    "annotated-again": "class Ours(RuntimeSecrets):\n    secret_key: SecretStr",
    "annotated-again-as-optional": "class Ours(RuntimeSecrets):\n    secret_key: SecretStr | None = None",
    "shadowed-by-a-property": "class Ours(RuntimeSecrets):\n    @property\n    def secret_key(self): return DEV",
    "mixin": "class Mixin:\n    secret_key: SecretStr = DEV\nclass Ours(Mixin, RuntimeSecrets): pass",
    "mixin-after": "class Mixin:\n    secret_key: SecretStr = DEV\nclass Ours(RuntimeSecrets, Mixin): pass",
    "mixin-without-annotation": "class Mixin:\n    secret_key = DEV\nclass Ours(Mixin, RuntimeSecrets): pass",
    "mixin-model": "class Mixin(BaseModel):\n    own: OWN = DEV\nclass Ours(RuntimeSecrets, Mixin): pass",
    "alias-generator": "class Ours(RuntimeSecrets, alias_generator=str.upper): pass",
    "class-variable": "class Ours(RuntimeSecrets):\n    secret_key: ClassVar[SecretStr] = DEV",
    "mixin-class-variable": (
        "class Mixin:\n    secret_key: ClassVar[SecretStr] = DEV\nclass Ours(Mixin, RuntimeSecrets): pass"
    ),
}
"""Models with a secret that could pass unset."""

loose = table({name: Case(f"{MODEL}{code}\n{SERVED}", GOOD) for name, code in LOOSE.items()})


@pytest.mark.parametrize("name", LOOSE)
def test_a_secret_that_could_pass_unset_is_refused_with_its_class(loose: Mapping[str, Ran], name: str) -> None:
    """A declaration with a default, optional, replaced or missing is a TypeError before there is a class to use."""
    ran = loose[name]
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.splitlines()[-1].startswith("TypeError: Ours")


def method(head: str, body: str, decorator: str = "") -> str:
    """Write a model with one method more."""
    decorator = decorator and f"    @{decorator}\n    @classmethod\n"
    return f"class Ours(RuntimeSecrets):\n{decorator}    def {head}: {body}"


REBUILT = "Ours = RuntimeSecrets\n{}\nOurs.model_rebuild(force=True)"
OVERRIDING = {
    "init": method("__init__(self, **_)", "pass"),
    "new": method("__new__(cls, **_)", "return BaseModel()"),
    "getattribute": method("__getattribute__(self, _)", "return DEV"),
    "length": method("__len__(self)", "return 0"),
    "before-validator": method("judge(cls, _)", "return DEV", "field_validator('*', mode='before')"),
    "wrap-validator": method("judge(cls, _, handler)", "return DEV", "field_validator('*', mode='wrap')"),
    "plain-validator": method("judge(cls, _)", "return DEV", "field_validator('*', mode='plain')"),
    "after-validator": method("judge(cls, _)", "return DEV", "field_validator('*', mode='after')"),
    "no-return": method("judge(cls, value)", "assert value", "field_validator('*')"),
    "the-same-validator": method("_refuse_alone(cls, _)", "return DEV", "field_validator('*')"),
    "before-model-validator": method("judge(cls, _)", "return {}", "model_validator(mode='before')"),
    "wrap-model-validator": method("judge(cls, _, handler)", "return None", "model_validator(mode='wrap')"),
    "sources": method("settings_customise_sources(cls, *_, **__)", "return (lambda: {'secret_key': DEV},)"),
    "policies": "class Ours(RuntimeSecrets):\n    secret_policies = {}",
    "no-init-subclass": method("__pydantic_init_subclass__(cls, **_)", "pass"),
    "field-default": REBUILT.format("Ours.model_fields['secret_key'].default = DEV"),
    "field-gone": REBUILT.format("del Ours.model_fields['secret_key']"),
}
"""Models that put something in the way of how a model is made."""

overriding_with_bad_keys, overriding_with_good_keys = (
    table({name: Case(f"{MODEL}{code}\nguard(Ours)\n{SERVED}", keys) for name, code in OVERRIDING.items()})
    for keys in (BAD, GOOD)
)


@pytest.mark.parametrize("name", OVERRIDING)
def test_whatever_a_model_overrides_its_bad_keys_are_refused(
    overriding_with_bad_keys: Mapping[str, Ran], name: str
) -> None:
    """The guard judges what it reads before a model of the host's is made of it, so that none of it is in the way."""
    assert_refused(overriding_with_bad_keys[name])


CANNOT_BE_MADE = (
    "new",
    "getattribute",
    "before-validator",
    "the-same-validator",
    "before-model-validator",
    "field-gone",
)
REPLACES_A_VALUE = (
    "init",
    "wrap-validator",
    "plain-validator",
    "after-validator",
    "no-return",
    "wrap-model-validator",
)


@pytest.mark.parametrize("name", CANNOT_BE_MADE)
def test_a_model_that_cannot_be_made_is_refused(overriding_with_good_keys: Mapping[str, Ran], name: str) -> None:
    """Good keys do not help where the host's own code breaks the model: that is an `internal` alert."""
    ran = overriding_with_good_keys[name]
    assert (ran.status, ran.err, checks(ran)[0]) == (3, "", "internal")


@pytest.mark.parametrize("name", REPLACES_A_VALUE)
def test_a_value_that_was_not_checked_is_not_returned(overriding_with_good_keys: Mapping[str, Ran], name: str) -> None:
    """Where a model of the host's puts another value, or none, in the place of the one that was read, it is refused."""
    ran = overriding_with_good_keys[name]
    assert (ran.status, checks(ran)[0], "served" in ran.out) == (3, "internal", False)


@pytest.mark.parametrize("name", sorted(OVERRIDING.keys() - {*CANNOT_BE_MADE, *REPLACES_A_VALUE}))
def test_what_a_model_overrides_in_vain_is_no_alert(overriding_with_good_keys: Mapping[str, Ran], name: str) -> None:
    """Where nothing asks for what a model overrides, good keys start it."""
    ran = overriding_with_good_keys[name]
    assert (ran.status, ran.out, ran.err) == (0, "served\n", "")


CONFIGURED = (
    "extra='allow', populate_by_name=True",
    "env_file='.env', extra='ignore'",
    "secrets_dir='.'",
    "env_prefix='X_'",
    "case_sensitive=False, env_ignore_empty=True",
    "validate_default=False, frozen=False",
    "cli_parse_args=['--secret_key=x', '--secret_v2_key=y']",
)
ELSEWHERE = {"secret_key": GOOD[V1], "secret_v2_key": GOOD[V2]}
PUTS_KEYS_ELSEWHERE = f"""{MODEL}
import os
for field in "secret_key", "secret_v2_key":
    with open(field, "w") as file, open(".env", "a") as env:
        file.write(os.environ[field])
        env.write(f"ROBODJ_{{field.upper()}}={{os.environ[field]}}\\n")
    os.environ["X_" + field] = os.environ[field]
"""
configured = table(
    {
        config: Case(
            f"{PUTS_KEYS_ELSEWHERE}class Ours(RuntimeSecrets, {config}): pass\nguard(Ours)\n{SERVED}", ELSEWHERE
        )
        for config in CONFIGURED
    }
)


@pytest.mark.parametrize("config", CONFIGURED)
def test_no_configuration_of_a_model_is_another_source(configured: Mapping[str, Ran], config: str) -> None:
    """With keys wherever else pydantic-settings can be told to look, and in none of our places, both are missing."""
    ran = configured[config]
    assert (ran.status, ran.err, checks(ran)) == (3, "", ["missing", "missing"])


UNCHECKED = {
    "copy-with-another": "guard().copy(update={'secret_key': DEV})",
    "copy-without": "guard().copy(exclude={'secret_key'})",
    "from-json": 'RuntimeSecrets.model_validate_json(\'{"secret_key": "dev", "secret_v2_key": "dev"}\')',
    "from-an-object": "RuntimeSecrets.model_validate(OWN, from_attributes=True)",
    "in-another-model": "create_model('Settings', secrets=(RuntimeSecrets, ...))(secrets={'secret_key': 'dev'})",
    "validated-again": (
        "class Again(RuntimeSecrets, revalidate_instances='always'): pass\nAgain.model_validate(guard(Again))"
    ),
}
"""Pydantic's other ways to an instance (`model_construct`, `model_copy` and passed values are in test_models.py)."""
unchecked = table({name: Case(f"{MODEL}{way}\n{SERVED}", GOOD) for name, way in UNCHECKED.items()})


@pytest.mark.parametrize("name", UNCHECKED)
def test_no_other_way_of_pydantics_makes_an_instance(unchecked: Mapping[str, Ran], name: str) -> None:
    """An instance of values from elsewhere, or of fewer, is an error at the call, and shows no value."""
    ran = unchecked[name]
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.splitlines()[-1].startswith(("TypeError: ", "AttributeError: "))


def attempt(statement: str, error: str = "Exception") -> str:
    """Write a host that goes on when a statement raises an error."""
    return f"try:\n    {statement}\nexcept {error}:\n    pass\n"


SWALLOWING = {
    "list-of-errors": attempt("import service", "(ImportError, OSError, ValueError, RuntimeError, RecursionError)"),
    "suppress": "import contextlib\nwith contextlib.suppress(Exception):\n    import service\n",
    "import-module": attempt("import importlib; importlib.import_module('service')"),
    "run-module": attempt("import runpy; runpy.run_module('service')"),
    "exec": attempt("exec(open('service.py').read())"),
    "resolve-name": attempt("import pkgutil; pkgutil.resolve_name('service:SECRETS')"),
    "walk-packages": (
        "import pkgutil\nos.rename('service.py', 'package/__init__.py')\n"
        "list(pkgutil.walk_packages(['.'], onerror=lambda _: None))\n"
    ),
    "entry-point": attempt("from importlib.metadata import EntryPoint; EntryPoint('a', 'service:SECRETS', 'b').load()"),
    "lazy-attribute": attempt("import package; getattr(package, 'SECRETS', None)"),
    "while-handling": attempt("1 / 0", "ArithmeticError").replace("pass", "import service"),
}
"""Hosts that go on after whatever they think can go wrong (`except Exception` itself is in test_guard_process.py)."""


WRITES_SERVICE = f"""
import os
os.mkdir("package")
for name, text in ("service.py", {SERVICE!r}), ("package/__init__.py", "def __getattr__(name): import service"):
    with open(name, "w") as file:
        file.write(text)
"""
swallowing = table({name: Case(f"{WRITES_SERVICE}{host}{SERVED}", BAD) for name, host in SWALLOWING.items()})


@pytest.mark.parametrize("name", SWALLOWING)
def test_a_host_that_catches_errors_does_not_go_on(swallowing: Mapping[str, Ran], name: str) -> None:
    """However the module is imported that calls the guard, catching errors around it does not swallow a refusal."""
    assert_refused(swallowing[name])


SWALLOWING_ALL = {
    "bare-except": "try:\n        import service\n    except:\n        pass",
    "return-in-finally": "try:\n        import service\n    finally:\n        return",
    "suppress": "with contextlib.suppress(BaseException):\n        import service",
}
TRIES_TWICE = f"""{WRITES_SERVICE}
import contextlib, sys
def load():
    {{}}
load()
print("service" in sys.modules)
import service
{SERVED}"""
swallowing_all = table({name: Case(TRIES_TWICE.format(host), BAD) for name, host in SWALLOWING_ALL.items()})


@pytest.mark.parametrize("name", SWALLOWING_ALL)
def test_a_host_that_swallows_a_system_exit_has_no_service(swallowing_all: Mapping[str, Ran], name: str) -> None:
    """Out of the guard's hands, a host goes on, but without the module and its keys: each attempt is refused anew."""
    ran = swallowing_all[name]
    first, second, loaded, *again = ran.out.splitlines(keepends=True)
    assert (ran.status, loaded) == (3, "False\n")
    assert_alert_lines(first + second)
    assert_alert_lines("".join(again))


STRICTER = {
    "ROBODJ_PROTECTED_ENV": "true",
    "ROBODJ_ALLOW_FILE_SECRET_FALLBACK": "false",
    f"{V1}_EXPIRES_AT": "2020-01-01T00:00:00Z",
    f"{V2}_EXPIRES_AT": "2020-01-01T00:00:00Z",
}
"""Variables that make a check stricter, and what they say then."""


EDITS: dict[str, Callable[[str], str]] = {
    "insert": lambda name: f"{name}S",
    "delete": lambda name: f"{name[:9]}{name[10:]}",
    "replace": lambda name: f"{name[:-1]}X",
    "swap": lambda name: f"{name[:-2]}{name[-1]}{name[-2]}",
    "case": str.lower,
}
typos = table(
    {
        edited(name): Case(f"{SERVICE}{SERVED}", files=GOOD, more={edited(name): value})
        for name, value in STRICTER.items()
        for edited in EDITS.values()
    }
)


@pytest.mark.parametrize("name", STRICTER)
@pytest.mark.parametrize("edit", EDITS)
def test_a_typo_of_what_makes_a_check_stricter_is_refused(typos: Mapping[str, Ran], name: str, edit: str) -> None:
    """A switch or an expiry marker that is ignored for its typo is an alert, or key files and old keys would pass."""
    typo = EDITS[edit](name)
    ran = typos[typo]
    assert (ran.status, ran.err) == (3, "")
    (alert,) = ran.alerts
    assert f": near-miss: {typo} is set, and nothing reads it: {name} is probably meant. " in alert
    assert [each for each in checks(ran) if each != "near-miss"] == ["file-fallback"] * 2


LOOKALIKES = (
    "ROBODJ_PROTECTED_ENV ",
    " ROBODJ_PROTECTED_ENV",
    "ROBODJ_PROTECTED_ENV\n",
    "ROBODJ_PROTECTED_ENV\udcff",
    "\N{ZERO WIDTH NO-BREAK SPACE}ROBODJ_PROTECTED_ENV",
    "ROBODJ_PROTECTED\N{NO-BREAK SPACE}ENV",
    "ROBODJ_PROTECTED_EN\N{FULLWIDTH LATIN CAPITAL LETTER V}",
    "rOBODJ_PROTECTED_ENv",
)
lookalikes = table({name: Case(f"{SERVICE}{SERVED}", GOOD, more={name: "true"}) for name in LOOKALIKES})


@pytest.mark.parametrize("name", LOOKALIKES, ids=ascii)
def test_a_name_that_looks_right_is_refused_in_one_ascii_line(lookalikes: Mapping[str, Ran], name: str) -> None:
    """Blanks, bytes and letters of other alphabets in a switch's name are a typo, told in one printable line."""
    ran = lookalikes[name]
    assert (ran.status, ran.err) == (3, "")
    assert ran.out.startswith("ALERT: near-miss: ")
    assert ran.out[:-1].isascii()
    assert ran.out[:-1].isprintable()


@pytest.mark.parametrize("keys", ["good", "bad"])
@pytest.mark.parametrize("gate", ["example", "script"])
def test_the_gate_imports_nothing_from_the_config_directory(tmp_path: Path, gate: str, keys: str) -> None:
    """Files in config/ named like any module of the standard library or of ours do not stand in for it."""
    config = tmp_path / "config"
    shutil.copytree(EXAMPLE / "config", config)
    for name in (*sys.stdlib_module_names, "pydantic", "pydantic_settings", "structlog", "robodj_secretguard"):
        (config / f"{name}.py").write_text("raise SystemExit('imported from config/')\n", encoding="utf-8")
    script = shutil.which("robodj-secretguard", path=sysconfig.get_path("scripts"))
    assert script is not None
    command, cwd = {
        "example": ([sys.executable, "config/check_runtime_secrets.py", "--require-env-only"], tmp_path),
        "script": ([script, "check", "--model", "robodj_secretguard:RuntimeSecrets"], config),
    }[gate]
    ran = run(command, env=host_env(SETS[keys]), cwd=cwd, keys=tuple(GOOD.values()), python=False)
    assert (ran.status, ran.err) == (0 if keys == "good" else 1, "")
    assert (ran.out.splitlines()[-1] == PASSED) is (keys == "good")


CLOCK = """
import datetime
class Fake(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2020, 1, 1, tzinfo=tz)
datetime.datetime = Fake
"""


def test_a_clock_set_back_does_not_bring_an_expired_key_back(tmp_path: Path) -> None:
    """Where a key has an expiry marker, a clock before this program was made is an alert."""
    ran = run_script(f"{CLOCK}{SERVICE}{SERVED}", GOOD, tmp_path, **{f"{V1}_EXPIRES_AT": "2026-11-02T00:00:00Z"})
    assert (ran.status, ran.err, checks(ran)) == (3, "", ["clock"])


REWRITES = f"""
import os, sys
from pathlib import Path
PLACES = ("config/secret.key", {V1!r}), ("config/secret_v2.key", {V2!r})
def rewrite():
    for name, variable in PLACES:
        Path(name).write_text("changeme")
        os.environ[variable] = "changeme"
"""
MIDDLE = {
    "validator": MODEL + method("judge(cls, value)", "rewrite(); return value", "field_validator('*')"),
    "init": MODEL + method("__init__(self, **given)", "rewrite(); super().__init__(**given)"),
    "pipeline": f"""{MODEL}Ours = RuntimeSecrets
import structlog
def processor(logger, method, event):
    rewrite()
    raise structlog.DropEvent
structlog.configure(processors=[processor])
""",
}


COMPARES = """
read = [(Path(name).read_text(), os.environ.get(variable)) for name, variable in PLACES]
{}
secrets = guard(Ours)
assert [(Path(name).read_text(), os.environ[variable]) for name, variable in PLACES] == [("changeme", "changeme")] * 2
returned = [secrets.secret_key.get_secret_value(), secrets.secret_v2_key.get_secret_value()]
sys.exit(0 if returned == [variable or file.strip() for file, variable in read] else "another value")
"""
middle = table(
    {
        f"{name}-{place}": Case(
            f"{REWRITES}{COMPARES.format(host)}", GOOD if place == "environment" else {}, files=GOOD
        )
        for name, host in MIDDLE.items()
        for place in ("environment", "files")
    }
)


@pytest.mark.parametrize("place", ["environment", "files"])
@pytest.mark.parametrize("name", MIDDLE)
def test_the_value_that_is_returned_is_the_one_that_was_checked(
    middle: Mapping[str, Ran], name: str, place: str
) -> None:
    """Files and variables that change between the check and the return change nothing: there is one read."""
    assert middle[f"{name}-{place}"].status == 0


HOSTILE = """
import enum
class Number(int): pass
class Status(enum.IntEnum):
    SUCCESS = 78
class Folder:
    def __init__(self, answer): self.answer = answer
    def __fspath__(self):
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer
class Unsure:
    def __bool__(self): raise ValueError("ambiguous")
class Meta(type):
    def __subclasscheck__(cls, other): return True
    def __getattr__(cls, name): return RuntimeSecrets.secret_policies
class Lying(metaclass=Meta): pass
"""
"""What a caller may pass by mistake, or worse."""


MEANINGLESS = {
    **dict.fromkeys(
        ("exit_status=Number(78)", "exit_status=Status.SUCCESS"), "ValueError: exit_status must be an int from 1 to 255"
    ),
    **dict.fromkeys(
        ("SecretSettings", "None", "'RuntimeSecrets'", "BaseModel", "Lying", "Lying()", "lambda: 1"),
        "TypeError: the model must be a subclass of SecretSettings that declares a secret",
    ),
}
FAILING = (
    "config_dir=3",
    "config_dir=True",
    "config_dir=[]",
    "config_dir=Folder(3)",
    "config_dir=Folder(RuntimeError())",
    "config_dir=Folder(SystemExit(0))",
    "require_env_only=Unsure()",
)
FILES_ALLOWED = {
    "require_env_only='false'": False,
    "require_env_only=[False]": False,
    "require_env_only=0": True,
    "require_env_only=None": True,
    "require_env_only=''": True,
    "config_dir=b'config'": True,
    "config_dir=Folder(b'config')": True,
}
arguments = table(
    {each: Case(f"{MODEL}{HOSTILE}guard({each})\n{SERVED}", GOOD) for each in (*MEANINGLESS, *FAILING)}
    | {each: Case(f"{MODEL}{HOSTILE}guard({each})\n", files=GOOD) for each in FILES_ALLOWED}
)


@pytest.mark.parametrize("argument", MEANINGLESS)
def test_an_argument_that_cannot_be_meant_is_an_error_at_the_call(arguments: Mapping[str, Ran], argument: str) -> None:
    """A status that is no plain int, and what is no model that declares a secret, are errors whatever the keys are."""
    ran = arguments[argument]
    assert (ran.status, ran.out, ran.err.splitlines()[-1]) == (1, "", MEANINGLESS[argument])


@pytest.mark.parametrize("argument", FAILING)
def test_an_argument_that_fails_is_refused(arguments: Mapping[str, Ran], argument: str) -> None:
    """An argument of another type, or one whose own code raises, is an `internal` alert, with good keys too."""
    ran = arguments[argument]
    assert (ran.status, ran.err, checks(ran)) == (3, "", ["internal"])


@pytest.mark.parametrize("argument", FILES_ALLOWED)
def test_an_argument_of_another_type_is_taken_as_python_does(arguments: Mapping[str, Ran], argument: str) -> None:
    """What is true rules files out, whatever its text says; what is false leaves the default; a path may be bytes."""
    ran = arguments[argument]
    allowed = FILES_ALLOWED[argument]
    assert checks(ran) == (["file-fallback"] if allowed else ["missing", "file-present"]) * 2
    assert ran.status == (0 if allowed else 3)


OBSTACLES = {
    "sys.exit": "import sys\nsys.exit = print\n",
    "os._exit": "import os\nos._exit = lambda status: None\n",
    "os.environ-copied": "import os\nos.environ = {**os.environ}\n",
    "trace": "import sys\nsys.settrace(lambda *_: None)\nsys.setprofile(lambda *_: None)\n",
    "excepthook": "import sys\nsys.excepthook = lambda *_: None\n",
    "at-exit": (
        "import atexit, sys\n"
        "def fail(error): raise error\n"
        "atexit.register(fail, SystemExit(0))\nsys.unraisablehook = lambda _: None\n"
    ),
    "threads": "import threading\nthreading.Thread(target=threading.main_thread().join).start()\n",
    "warnings": "import warnings\nwarnings.simplefilter('error')\n",
}
THREAD = f"""{GUARD}
import os, threading
os._exit = lambda status: None
def serve():
    {{}}
    guard()
    {SERVED}
threading.Thread(target=serve).start()
"""
NO_THREADS = "threading.Thread.start = None"
obstacles = table(
    {name: Case(f"{obstacle}{GUARD}guard()\n{SERVED}", BAD) for name, obstacle in OBSTACLES.items()}
    | {"thread": Case(THREAD.format("pass"), BAD), "thread-of-many": Case(THREAD.format(NO_THREADS), BAD)}
)


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_a_host_has_put_in_the_way_changes_no_refusal(obstacles: Mapping[str, Ran], name: str) -> None:
    """Replaced ways out, tracers, hooks, handlers at exit and other threads leave status and lines as they are."""
    assert_refused(obstacles[name])


@pytest.mark.parametrize("name", ["thread", "thread-of-many"])
def test_a_thread_is_refused_where_nothing_ends_the_process(obstacles: Mapping[str, Ran], name: str) -> None:
    """In a thread, an `os._exit` that returns is no way to get past the guard, where no thread can start either."""
    ran = obstacles[name]
    assert ran.err == ""
    assert_alert_lines(ran.out)
