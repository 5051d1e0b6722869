"""Bypass hunting: a mistake or a shortcut in a host does not start a service with a bad key.

Code that bypasses the guard on purpose is out of scope (`SECURITY.md`): a tracer, a replaced built-in, or
a model whose `secret_policies` is replaced after the class was made.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import V1, V2, run
from processes import (
    BAD,
    GOOD,
    GUARD,
    SECRET,
    SERVED,
    SERVICE,
    SETS,
    assert_alert_lines,
    assert_refused,
    checks,
    config_files,
    host_env,
    needs_fork,
    run_copy,
    run_forked,
)

from robodj_secretguard.cli.output import PASSED

pytestmark = needs_fork

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
"""The first lines of a service that declares a model."""

LOOSE = {
    "default-in-the-annotation": "class Ours(RuntimeSecrets):\n    own: Annotated[OWN, Field(default=DEV)]",
    "default-of-a-child": "class Base(RuntimeSecrets):\n    own: OWN\nclass Ours(Base):\n    own: OWN = DEV",
    "default-of-a-deferred-model": "class Ours(RuntimeSecrets, defer_build=True):\n    own: OWN = DEV",
    "unresolved": "class Ours(RuntimeSecrets):\n    own: 'Later'",
    "annotated-again-as-optional": "class Ours(RuntimeSecrets):\n    secret_key: SecretStr | None = None",
    "shadowed-by-a-property": "class Ours(RuntimeSecrets):\n    @property\n    def secret_key(self): return DEV",
    "mixin": "class Mixin:\n    secret_key: SecretStr = DEV\nclass Ours(Mixin, RuntimeSecrets): pass",
    "mixin-without-annotation": "class Mixin:\n    secret_key = DEV\nclass Ours(Mixin, RuntimeSecrets): pass",
    "mixin-model": "class Mixin(BaseModel):\n    own: OWN = DEV\nclass Ours(RuntimeSecrets, Mixin): pass",
    "alias-generator": "class Ours(RuntimeSecrets, alias_generator=str.upper): pass",
    "mixin-class-variable": (
        "class Mixin:\n    secret_key: ClassVar[SecretStr] = DEV\nclass Ours(Mixin, RuntimeSecrets): pass"
    ),
}
"""Models with a secret that could pass unset. test_settings.py has the simple ones."""


@pytest.mark.parametrize("name", LOOSE)
def test_a_secret_that_could_pass_unset_is_refused_with_its_class(tmp_path: Path, name: str) -> None:
    """A declaration with a default, optional, replaced or missing is a TypeError before there is a class to use."""
    ran = run_copy(f"{MODEL}{LOOSE[name]}\n{SERVED}", GOOD, tmp_path)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.splitlines()[-1].startswith("TypeError: Ours")


def method(head: str, body: str, decorator: str = "") -> str:
    """Return the source of a model with one more method."""
    decorator = decorator and f"    @{decorator}\n    @classmethod\n"
    return f"class Ours(RuntimeSecrets):\n{decorator}    def {head}: {body}"


REBUILT = "Ours = RuntimeSecrets\n{}\nOurs.model_rebuild(force=True)"
CANNOT_BE_MADE = {
    "new": method("__new__(cls, **_)", "return BaseModel()"),
    "getattribute": method("__getattribute__(self, _)", "return DEV"),
    "before-validator": method("judge(cls, _)", "return DEV", "field_validator('*', mode='before')"),
    "the-same-validator": method("_refuse_alone(cls, _)", "return DEV", "field_validator('*')"),
    "before-model-validator": method("judge(cls, _)", "return {}", "model_validator(mode='before')"),
    "field-gone": REBUILT.format("del Ours.model_fields['secret_key']"),
}
REPLACES_A_VALUE = {
    "init": method("__init__(self, **_)", "pass"),
    "wrap-validator": method("judge(cls, _, handler)", "return DEV", "field_validator('*', mode='wrap')"),
    "plain-validator": method("judge(cls, _)", "return DEV", "field_validator('*', mode='plain')"),
    "after-validator": method("judge(cls, _)", "return DEV", "field_validator('*', mode='after')"),
    "no-return": method("judge(cls, value)", "assert value", "field_validator('*')"),
    "wrap-model-validator": method("judge(cls, _, handler)", "return None", "model_validator(mode='wrap')"),
}
IN_VAIN = {
    "mixin-after": "class Mixin:\n    secret_key: SecretStr = DEV\nclass Ours(RuntimeSecrets, Mixin): pass",
    "length": method("__len__(self)", "return 0"),
    "sources": method("settings_customise_sources(cls, *_, **__)", "return (lambda: {'secret_key': DEV},)"),
    "policies": "class Ours(RuntimeSecrets):\n    secret_policies = {}",
    "no-init-subclass": method("__pydantic_init_subclass__(cls, **_)", "pass"),
    "field-default": REBUILT.format("Ours.model_fields['secret_key'].default = DEV"),
}
OVERRIDING = CANNOT_BE_MADE | REPLACES_A_VALUE | IN_VAIN
"""Models that change how an instance is made."""


@pytest.mark.parametrize("name", OVERRIDING)
class TestOverriding:
    """The guard judges the values that it reads, before it makes a model of the host."""

    def test_bad_keys_are_refused_whatever_a_model_overrides(self, tmp_path: Path, name: str) -> None:
        """Bad keys are refused, whatever a model overrides."""
        assert_refused(run_copy(f"{MODEL}{OVERRIDING[name]}\nguard(Ours)\n{SERVED}", BAD, tmp_path))

    def test_values_of_a_model_are_those_that_were_checked(self, tmp_path: Path, name: str) -> None:
        """With good keys, the values of a model are those that were checked. Any other value is an `internal` alert."""
        ran = run_copy(f"{MODEL}{OVERRIDING[name]}\nguard(Ours)\n{SERVED}", GOOD, tmp_path)
        if name in IN_VAIN:
            assert (ran.status, ran.out, ran.err) == (0, "served\n", "")
        else:
            assert (ran.status, checks(ran)[0], "served" in ran.out) == (3, "internal", False)


ELSEWHERE = {"secret_key": GOOD[V1], "secret_v2_key": GOOD[V2]}
PUTS_KEYS_ELSEWHERE = f"""{MODEL}
import os
for field in "secret_key", "secret_v2_key":
    with open(field, "w") as file, open(".env", "a") as env:
        file.write(os.environ[field])
        env.write(f"ROBODJ_{{field.upper()}}={{os.environ[field]}}\\n")
    os.environ["X_" + field] = os.environ[field]
"""


@pytest.mark.parametrize(
    "config",
    [
        "extra='allow', populate_by_name=True",
        "env_file='.env'",
        "env_prefix='X_'",
        "case_sensitive=False, env_ignore_empty=True",
        "validate_default=False, frozen=False",
        "cli_parse_args=['--secret_key=x', '--secret_v2_key=y']",
    ],
)
def test_no_configuration_of_a_model_is_another_source(tmp_path: Path, config: str) -> None:
    """Keys in the other sources of pydantic-settings, and not in those of the guard, are missing."""
    script = f"{PUTS_KEYS_ELSEWHERE}class Ours(RuntimeSecrets, {config}): pass\nguard(Ours)\n{SERVED}"
    ran = run_copy(script, ELSEWHERE, tmp_path)
    assert (ran.status, ran.err, checks(ran)) == (3, "", ["missing", "missing"])


@pytest.mark.parametrize(
    "way",
    [
        "RuntimeSecrets.model_validate(OWN, from_attributes=True)",
        "class Again(RuntimeSecrets, revalidate_instances='always'): pass\nAgain.model_validate(guard(Again))",
    ],
    ids=["from-an-object", "validated-again"],
)
def test_no_constructor_of_pydantic_makes_an_instance(tmp_path: Path, way: str) -> None:
    """A model that is made of other values is an error. test_settings.py has the common cases."""
    ran = run_copy(f"{MODEL}{way}\n{SERVED}", GOOD, tmp_path)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.splitlines()[-1].startswith(("TypeError: ", "AttributeError: "))


def attempt(statement: str, error: str = "Exception") -> str:
    """Return the source of a host that continues after a statement raises an error."""
    return f"try:\n    {statement}\nexcept {error}:\n    pass\n"


SWALLOWING = {
    "exception": attempt("import service"),
    "walk-packages": (
        "import pkgutil\nos.rename('service.py', 'package/__init__.py')\n"
        "list(pkgutil.walk_packages(['.'], onerror=lambda _: None))\n"
    ),
    "entry-point": attempt("from importlib.metadata import EntryPoint; EntryPoint('a', 'service:SECRETS', 'b').load()"),
    "while-handling": attempt("1 / 0", "ArithmeticError").replace("pass", "import service"),
}
WRITES_SERVICE = f"""
import os
os.mkdir("package")
with open("service.py", "w") as file:
    file.write({SERVICE!r})
"""


@pytest.mark.parametrize("name", SWALLOWING)
def test_a_host_that_catches_errors_does_not_continue(tmp_path: Path, name: str) -> None:
    """A refusal is not swallowed by code around the import of the module that calls the guard."""
    assert_refused(run_copy(f"{WRITES_SERVICE}{SWALLOWING[name]}{SERVED}", BAD, tmp_path))


@pytest.mark.parametrize(
    "load",
    [
        "try:\n        import service\n    except:\n        pass",
        "try:\n        import service\n    finally:\n        return",
        "with contextlib.suppress(BaseException):\n        import service",
    ],
    ids=["bare-except", "return-in-finally", "suppress"],
)
def test_a_host_that_swallows_a_system_exit_has_no_service(tmp_path: Path, load: str) -> None:
    """A host that does continue has neither the module nor its keys, and each attempt is refused again."""
    twice = (
        f"import contextlib, sys\ndef load():\n    {load}\nload()\nprint('service' in sys.modules)\nimport service\n"
    )
    ran = run_copy(f"{WRITES_SERVICE}{twice}{SERVED}", BAD, tmp_path)
    first, loaded, again = ran.out.partition("False\n")
    assert (ran.status, loaded) == (3, "False\n")
    assert_alert_lines(first)
    assert_alert_lines(again)


@pytest.mark.parametrize(
    ("gate", "keys"),
    [
        ("example", "bad"),
        ("script", "good"),
        pytest.param("example", "good", marks=pytest.mark.full),
        pytest.param("script", "bad", marks=pytest.mark.full),
    ],
)
def test_the_gate_imports_nothing_from_the_config_directory(tmp_path: Path, gate: str, keys: str) -> None:
    """Files in config/ with the name of a module of the standard library or of this library do not replace it."""
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
    ran = run(command, env=host_env(SETS[keys]), cwd=cwd, keys=SECRET, python=False)
    assert (ran.status, ran.err) == (0 if keys == "good" else 1, "")
    assert (ran.out.splitlines()[-1] == PASSED) is (keys == "good")


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


@pytest.mark.parametrize("keys", ["good", "none"], ids=["environment", "files"])
@pytest.mark.parametrize("name", MIDDLE)
def test_the_value_that_is_returned_is_the_one_that_was_checked(tmp_path: Path, name: str, keys: str) -> None:
    """Files and variables that change after the guard has read them change nothing: it reads once."""
    config_files(tmp_path, GOOD)
    assert run_copy(f"{REWRITES}{COMPARES.format(MIDDLE[name])}", SETS[keys], tmp_path).status == 0


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
"""Arguments that a caller may pass by mistake or on purpose."""
STATUS, NO_MODEL = "ValueError: exit_status must be ", "TypeError: the model must be a subclass of SecretSettings "
INTERNAL, ALLOWED, OFF = ["internal"], ["file-fallback"] * 2, ["missing", "file-present"] * 2


@pytest.mark.parametrize(
    ("argument", "outcome"),
    [
        *((each, STATUS) for each in ("exit_status=Number(78)", "exit_status=Status.SUCCESS")),
        *((each, NO_MODEL) for each in ("'RuntimeSecrets'", "BaseModel", "Lying", "Lying()", "lambda: 1")),
        *((f"config_dir={each}", INTERNAL) for each in ("3", "True", "[]", "Folder(3)", "Folder(SystemExit(0))")),
        ("require_env_only=Unsure()", INTERNAL),
        *((f"require_env_only={each}", OFF) for each in ("'false'", "[False]")),
        *((f"require_env_only={each}", ALLOWED) for each in ("0", "None", "''")),
        *((f"config_dir={each}", ALLOWED) for each in ("b'config'", "Folder(b'config')")),
    ],
)
def test_an_argument_of_another_type(tmp_path: Path, argument: str, outcome: str | list[str]) -> None:
    """An invalid argument is an error at the call, and an argument that fails is refused, with good keys too.

    A true value turns fallback files off, whatever its text. A false value changes nothing. A path may be bytes.
    """
    config_files(tmp_path, GOOD)
    keys = GOOD if isinstance(outcome, str) or outcome is INTERNAL else {}
    ran = run_copy(f"{MODEL}{HOSTILE}guard({argument})\n", keys, tmp_path)
    if isinstance(outcome, str):
        assert (ran.status, ran.out, ran.err.splitlines()[-1].startswith(outcome)) == (1, "", True)
    else:
        assert (ran.status, checks(ran)) == (0 if outcome is ALLOWED else 3, outcome)
        assert "ALERT" not in ran.err


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


@pytest.mark.parametrize("name", OBSTACLES)
def test_changes_of_a_host_change_no_refusal(tmp_path: Path, name: str) -> None:
    """Replaced exits, tracers, hooks, exit handlers and other threads do not change the status or the lines."""
    assert_refused(run_forked(f"{OBSTACLES[name]}{GUARD}guard()\n{SERVED}", BAD, tmp_path))


@pytest.mark.parametrize("before", ["pass", "threading.Thread.start = None"])
def test_a_thread_is_refused_where_nothing_ends_the_process(tmp_path: Path, before: str) -> None:
    """Where no thread can start and `os._exit` returns, a thread still does not get past the guard."""
    ran = run_forked(THREAD.format(before), BAD, tmp_path)
    assert ran.err == ""
    assert_alert_lines(ran.out)
