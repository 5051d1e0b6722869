"""The settings models: declared once, made only through the checks, and without a way to show a key."""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import os
import pickle
import traceback
import types
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar

import pytest
from command_line import fingerprint_of
from conftest import NOW, V1, V2, Checker, found, good_keys, listed, marker, process_environment, raising
from detector import leaks
from pydantic import (
    BaseModel,
    Field,
    GetPydanticSchema,
    PlainSerializer,
    SecretStr,
    ValidationError,
    computed_field,
    create_model,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from robodj_secretguard import Generator, Length, Material, RuntimeSecrets, Secret, SecretPolicy, SecretSettings, check
from robodj_secretguard.errors import CheckFailedError
from robodj_secretguard.settings import declares_secrets, running_report, setup_of, store_of
from robodj_secretguard.startup.inputs import variables_read
from robodj_secretguard.startup.readings import Environment, ModelSetup, read
from robodj_secretguard.startup.report import Judgement

REVOKED = "ROBODJ_REVOKED_FINGERPRINTS"
EXPIRES = f"{V1}_EXPIRES_AT"
Keys = dict[str, str]


def policy(name: str = "webhook.key", variable: str = "WEBHOOK_KEY", **fields: Any) -> SecretPolicy:
    """Return the policy of another secret."""
    fields |= {"cadence": timedelta(days=90), "warn_before": timedelta(days=14)}
    return SecretPolicy(name=name, variable=variable, owner="Integrations", backup_owner="Us", **fields)


def model_of(*policies: SecretPolicy, base: type[SecretSettings] = RuntimeSecrets) -> type[SecretSettings]:
    """Declare a model of these secrets and those of a base model."""
    fields: Any = {f"key_{number}": (Annotated[SecretStr, each], ...) for number, each in enumerate(policies)}
    return create_model("Model", __base__=base, **fields)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Keys]:
    """Put new keys into the process environment, and work in an empty directory."""
    monkeypatch.chdir(tmp_path)
    made = good_keys()
    with process_environment(made):
        yield made


def frames(error: BaseException) -> list[str]:
    """Return the locals of an error's frames, except the first, which is the test's."""
    stack = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    return [repr(frame.locals) for frame in stack[1:]]


def write(name: str, text: str) -> None:
    """Write a private file into the config directory of the working directory."""
    Path("config").mkdir(mode=0o700, exist_ok=True)
    Path("config", name).write_text(text, encoding="utf-8")
    Path("config", name).chmod(0o600)


class Cached:
    """A class that a model may not inherit."""

    @cached_property
    def derived(self) -> str:
        return ""


class SubPlain(PlainSerializer):
    """A serializer of another class."""


def in_type(metadata: object) -> dict[str, Any]:
    """Return a field with more metadata."""
    return {"own": (Annotated[SecretStr, policy(), metadata], ...)}


def in_class(**names: Any) -> dict[str, Any]:
    """Return attributes of the class."""
    return {"__validators__": names}


SHOWING: dict[str, dict[str, Any]] = {
    "computed": in_class(derived=computed_field(return_type=str)(property(lambda _self: ""))),
    "field": in_class(shown=field_serializer("secret_key")(lambda value: value.get_secret_value())),
    "model": in_class(shown=model_serializer(lambda self: {**vars(self)})),
    "encoder": in_class(model_config={"json_encoders": {SecretStr: SecretStr.get_secret_value}}),
    "schema of the model": in_class(
        __get_pydantic_core_schema__=classmethod(lambda _cls, source, handler: handler(source))
    ),
    "type": in_type(PlainSerializer(SecretStr.get_secret_value)),
    "subclass": in_type(SubPlain(SecretStr.get_secret_value)),
    "schema": in_type(GetPydanticSchema(lambda kind, handler: handler(kind))),
    "cached": {"__base__": (Cached, RuntimeSecrets)},
}


@pytest.mark.parametrize(
    ("field", "policy"),
    [
        (
            "secret_key",
            SecretPolicy(
                name="secret.key",
                variable="ROBODJ_SECRET_KEY",
                file="config/secret.key",
                material=Material(base64url=Length(43), hexadecimal=Length(64)),
                generator=Generator("token_urlsafe", 32),
                expiry_variable="ROBODJ_SECRET_KEY_EXPIRES_AT",
                owner="Security Operations",
                backup_owner="Release Manager",
                cadence=timedelta(days=90),
                warn_before=timedelta(days=14),
                overlap=timedelta(days=14),
                expires=True,
                stores_data=True,
            ),
        ),
        (
            "secret_v2_key",
            SecretPolicy(
                name="secret_v2.key",
                variable="ROBODJ_SECRET_V2_KEY",
                file="config/secret_v2.key",
                material=Material(base64url=Length(86), hexadecimal=Length(128, 128)),
                generator=Generator("token_hex", 64),
                expiry_variable="ROBODJ_SECRET_V2_KEY_EXPIRES_AT",
                owner="Security Operations",
                backup_owner="Release Manager",
                cadence=timedelta(days=30),
                warn_before=timedelta(days=7),
                overlap=timedelta(days=7),
                expires=True,
                stores_data=False,
            ),
        ),
    ],
    ids=["secret.key", "secret_v2.key"],
)
def test_policy_of_a_secret_is_data_on_the_model(field: str, policy: SecretPolicy) -> None:
    """Each row of the policy is data on the model."""
    assert RuntimeSecrets.secret_policies[field] == policy


def unnamed(model: type[SecretSettings]) -> ModelSetup:
    """Return the set-up that a model declares, without the model's name."""
    return setup_of(model)._replace(model="")


class TestDeclaration:
    """Every field is a declared secret. Anything else is an error when the class is defined."""

    @pytest.mark.parametrize(
        "field",
        [
            (SecretStr, ...),
            (SecretStr, SecretStr("dev")),
            (Annotated[SecretStr, policy()], SecretStr("dev")),
            (Annotated[SecretStr, policy()], Field(default_factory=lambda: SecretStr("dev"))),
            (Annotated[SecretStr | None, policy()], ...),
            (Annotated[str, policy()], ...),
            (Annotated[SecretStr, policy(), policy("other.key", "OTHER_KEY")], ...),
            (Annotated[SecretStr, policy()], Field(alias="other")),
            (Annotated[SecretStr, policy()], Field(validation_alias="other")),
            (int, 8000),
        ],
    )
    def test_not_a_declared_secret(self, field: Any) -> None:
        """Defaults, optionals, aliases, undeclared secrets and ordinary settings are a TypeError, inherited or not."""
        for base, name in ((SecretSettings, "field"), (RuntimeSecrets, "secret_key")):
            fields = {name: field}
            with pytest.raises(TypeError, match=rf"^Refused\.{name}(?: must be declared as|: an optional secret)"):
                create_model("Refused", __base__=base, **fields)

    def test_an_inherited_secret_keeps_its_policy(self) -> None:
        """An inherited secret may be declared again unchanged, but not with another policy or as a class variable."""
        own = policy()
        base = model_of(own)
        assert model_of(own, base=base).secret_policies == base.secret_policies
        with pytest.raises(TypeError, match=r"^Model must keep every secret that it inherits, with its policy$"):
            model_of(policy(material=Material(base64url=Length(43), hexadecimal=Length(66))), base=base)
        with pytest.raises(TypeError, match=r"^Hidden must keep every secret that it inherits"):

            class Hidden(base):  # type: ignore[misc, valid-type]
                key_0: ClassVar[SecretStr] = SecretStr("dev")

    def test_names_are_by_default_those_of_the_field(self) -> None:
        """The name and the variable of a secret are by default those of its field, and so are its file and marker."""

        class Own(SecretSettings):
            session_key: Annotated[Secret, SecretPolicy()]
            db: Annotated[SecretStr, SecretPolicy(name="database.url")]
            token: Annotated[Secret | None, SecretPolicy(variable="API_TOKEN", required=False)]

        declared = [
            (each.name, each.variable, each.file, each.expiry_variable) for each in Own.secret_policies.values()
        ]
        assert declared == [
            ("session_key", "SESSION_KEY", "config/session_key", "SESSION_KEY_EXPIRES_AT"),
            ("database.url", "DB", "config/database.url", "DB_EXPIRES_AT"),
            ("token", "API_TOKEN", "config/token", "API_TOKEN_EXPIRES_AT"),
        ]
        with pytest.raises(ValueError, match=r"^SecretPolicy variable: "):
            create_model("Own", __base__=SecretSettings, k=(Annotated[Secret, SecretPolicy()], ...))

    def test_no_hidden_attributes(self) -> None:
        """A name with a leading underscore is refused: pydantic would not make it a field."""
        with pytest.raises(TypeError, match=r"^Hidden must declare only secrets"):

            class Hidden(RuntimeSecrets):
                _own: Annotated[SecretStr, policy()]

    @pytest.mark.filterwarnings("ignore:`json_encoders` is deprecated")
    @pytest.mark.parametrize("declaration", SHOWING)
    def test_nothing_that_could_show_a_key(self, declaration: str) -> None:
        """A computed field, a cached property or a serializer, declared or inherited, is a TypeError."""
        with pytest.raises(TypeError, match=r"^Shows has a computed field, a cached property or a serializer"):
            create_model("Shows", **{"__base__": RuntimeSecrets, **SHOWING[declaration]})

    @pytest.mark.parametrize(
        ("name", "values", "why"),
        [
            ("config_dir", ["config", "", b"config", 5], "^Loose: config_dir must be an absolute path"),
            (
                "refresh",
                [30, timedelta(0), timedelta(seconds=1.5), timedelta(seconds=901)],
                "^Loose: refresh is a timedelta of whole seconds, from 1 to 900$",
            ),
            ("file_fallback", ["no"], "are true or false"),
        ],
        ids=["a directory is an absolute path", "a period is 1 to 900 whole seconds", "a switch is true or false"],
    )
    def test_an_invalid_set_up(self, name: str, values: list[Any], why: str) -> None:
        """An invalid value of the set-up is an error when the class is defined."""
        for value in values:
            with pytest.raises(TypeError, match=why):
                types.new_class("Loose", (RuntimeSecrets,), {name: value})

    def test_the_set_up_can_only_be_tightened(self, tmp_path: Path) -> None:
        """A subclass inherits the set-up, may repeat it, and may not loosen it."""
        tight: dict[str, Any] = {"file_fallback": False, "require_revocation_list": True}
        period = {"refresh": timedelta(seconds=30)}
        strict = types.new_class("Strict", (RuntimeSecrets,), {"config_dir": tmp_path, **tight, **period})
        same = types.new_class("Same", (strict,), {"config_dir": str(tmp_path), **tight, **period})
        expected = ModelSetup(str(tmp_path), **tight, refresh=30)
        assert [unnamed(each) for each in (strict, same)] == [expected, expected]
        assert unnamed(RuntimeSecrets) == ModelSetup()
        for name, value in {
            "config_dir": tmp_path / "other",
            "file_fallback": True,
            "require_revocation_list": False,
            "refresh": timedelta(seconds=60),
        }.items():
            with pytest.raises(TypeError, match=rf"^Loose can only tighten .*: its {name} conflicts$"):
                types.new_class("Loose", (strict,), {name: value})

    def test_several_inherited_set_ups(self, tmp_path: Path) -> None:
        """Of several inherited set-ups, the strictest value of each setting counts."""

        class One(SecretSettings, file_fallback=False):
            one: Annotated[SecretStr, policy("one.key", "ONE_KEY")]

        class Two(SecretSettings, config_dir=tmp_path, require_revocation_list=True):
            two: Annotated[SecretStr, policy("two.key", "TWO_KEY")]

        class Both(One, Two):
            pass

        assert unnamed(Both) == ModelSetup(str(tmp_path), file_fallback=False, require_revocation_list=True)
        assert tuple(Both.secret_policies) == ("two", "one")

    def test_no_secret(self) -> None:
        """A model without a secret is refused: it would always pass."""
        with pytest.raises(TypeError, match="declares no secret"):
            model_of(base=SecretSettings)

    @pytest.mark.parametrize(
        ("other", "shared"),
        [
            (policy("secret.key"), "a name"),
            (policy(variable=V1), "a variable"),
            (policy(variable=EXPIRES), "a variable"),
            (policy(expiry_variable=f"{V2}_EXPIRES_AT"), "a variable"),
            (policy(variable="ROBODJ_PROTECTED_ENV"), "a variable"),
            (policy(variable=REVOKED), "a variable"),
            (policy(expiry_variable="ROBODJ_OPERATIONS_LOG"), "a variable"),
            (policy(file="config/Secret.key"), "a file"),
            (policy(file="config/Revoked.Fingerprints"), "a file"),
            (policy(file="config/Logs/secret_operations.JSONL"), "a file"),
            (policy("revoked.fingerprints"), "a file"),
        ],
    )
    def test_shared_names(self, other: SecretPolicy, shared: str) -> None:
        """Two secrets, or a secret and the library, share no name, variable or file, in any case of the file."""
        with pytest.raises(TypeError, match=f"two secrets that share {shared}"):
            model_of(other)

    @pytest.mark.parametrize(
        "pairs",
        [{"a": "b"}, {"a": "a"}, {"a": "b", "b": "c", "c": "a"}, {"a": "secret_v2.key"}, {"a": "missing"}],
        ids=repr,
    )
    def test_secrets_that_may_be_equal_name_each_other(self, pairs: dict[str, str]) -> None:
        """Of two secrets that may have one value, each names the other."""
        names = {"a", "b", "c"}
        policies = [policy(each, each.upper() * 3)._replace(shared_with=pairs.get(each, "")) for each in sorted(names)]
        with pytest.raises(TypeError, match="a secret and the one in its shared_with must name each other"):
            model_of(*policies)

    @pytest.mark.parametrize("file", ["config/keys/revoked.fingerprints", "config/secret_operations.jsonl"])
    def test_a_file_that_is_nearly_reserved(self, checker: Checker, file: str) -> None:
        """A secret may have any other file, and its file is not reported as a misnamed revocation list."""
        (checker.config.parent / file).parent.mkdir(mode=0o700, exist_ok=True)
        checker.write(file.removeprefix("config/"), good_keys()[V1])
        report = check(model_of(policy(file=file)), environ=good_keys(), config_dir=checker.config, now=NOW)
        assert (found(report), listed(report)) == ([("file-fallback", "webhook.key")], ((), 0))

    def test_what_declares_secrets(self) -> None:
        """Only a subclass of `SecretSettings` with a secret declares secrets. The base class builds no validator."""
        assert (SecretSettings.__pydantic_complete__, RuntimeSecrets.__pydantic_complete__) == (False, True)
        models = [RuntimeSecrets, SecretSettings, int, None, RuntimeSecrets.secret_policies]
        assert [declares_secrets(each) for each in models] == [True, False, False, False, False]


class TestInstance:
    """An instance exists only with values that passed the checks."""

    def test_values(self, keys: Keys) -> None:
        """An instance holds the values of the environment or of a fallback file, if other keys are revoked too."""
        os.environ[REVOKED] = fingerprint_of(good_keys()[V1])
        write("secret.key", os.environ.pop(V1))
        made = RuntimeSecrets()
        assert [made.secret_key.get_secret_value(), made.secret_v2_key.get_secret_value()] == [*keys.values()]
        assert found(running_report(made)) == found(made.refresh()) == [("file-fallback", "secret.key")]
        assert made.secret_key is made.secret_key
        assert store_of(made).reader is None  # there is no secrets directory
        os.environ["ROBODJ_PROTECTED_ENV"] = "true"
        with pytest.raises(ValidationError, match="fallback files are not read"):
            RuntimeSecrets()

    @pytest.mark.parametrize(
        ("change", "errors"),
        [
            (lambda _: {V1: ""}, [("missing", "secret_key")]),
            (lambda _: {V1: "Zy" * 30, V2: "short"}, [("weak", "secret_key"), ("format", "secret_v2_key")]),
            (lambda keys: {V1: keys[V2]}, [("shared", "secret_v2_key")]),
            (lambda _: {"ROBODJ_PROTECTED_ENV": "maybe"}, [("setting",)]),
            (lambda keys: {"revoked.fingerprints": fingerprint_of(keys[V2])}, [("revoked", "secret_v2_key")]),
            # A warning before an alert hides nothing.
            (
                lambda keys: {V1: "", "secret.key": keys[V1], REVOKED: fingerprint_of(keys[V1])},
                [("revoked", "secret_key")],
            ),
            (
                lambda keys: {V1: keys[V1][:20], EXPIRES: "2020-01-01T00:00Z"},
                [("format", "secret_key"), ("expired", "secret_key")],
            ),
        ],
    )
    def test_the_same_rules(self, keys: Keys, change: Callable[[Keys], Keys], errors: list[tuple[str, ...]]) -> None:
        """A model that is made directly applies the rules of `guard()`, and its error shows no value."""
        for name, value in change(keys).items():
            if name.isupper():
                os.environ[name] = value
            else:
                write(name, value)
        with pytest.raises(ValidationError) as raised:
            RuntimeSecrets()
        error = raised.value
        assert [(entry["type"], *entry["loc"]) for entry in error.errors()] == errors
        shown = [str(error), repr(error), str(error.errors()), error.json(), repr(vars(error)), *frames(error)]
        with contextlib.suppress(TypeError):  # an object that holds a value is not pickled
            shown.append(repr(pickle.dumps(error.errors())))
        assert leaks("\n".join(shown), list(keys.values())) == []
        assert "input_value" not in str(error)

    @pytest.mark.parametrize(
        "entrance",
        [
            *("__call__", "model_construct", "model_validate", "model_validate_json", "model_validate_strings"),
            *("construct", "parse_obj", "parse_raw", "parse_file", "from_orm", "validate"),
        ],
    )
    def test_it_takes_no_values(self, keys: Keys, entrance: str) -> None:
        """No constructor of pydantic, old names included, accepts values, and the frames of its error show none."""
        enter = RuntimeSecrets if entrance == "__call__" else getattr(RuntimeSecrets, entrance)
        with pytest.raises(TypeError, match="takes no values") as raised:
            enter(secret_key=SecretStr(keys[V1]), secret_v2_key=keys[V2])
        assert leaks("".join(frames(raised.value)), list(keys.values())) == []

    @pytest.mark.parametrize("judgement", ["", "a key", {}, ((), ()), SimpleNamespace(together=(), secrets=())])
    @pytest.mark.usefixtures("keys")
    def test_it_takes_no_judgement_but_its_own(self, judgement: object) -> None:
        """An object other than a judgement is treated as a value, also if it is empty or has the same attributes."""
        with pytest.raises(TypeError, match="takes no values"):
            RuntimeSecrets(_judgement=judgement)  # type: ignore[call-arg]

    def test_it_takes_no_other_rules(self, keys: Keys) -> None:
        """A judgement of other rules or secrets is not accepted, and a judgement cannot be changed."""

        class Lenient(Judgement):
            findings = together = ()

        policies = tuple(RuntimeSecrets.secret_policies.values())
        weak = Environment(keys | {V1: "ab" * 30 + "-Z"})
        readings = read(policies, variables_read(policies), environment=weak, now=datetime.now(UTC))
        with pytest.raises(TypeError, match="takes no values"):
            RuntimeSecrets(_judgement=Lenient(readings))  # type: ignore[call-arg]
        with pytest.raises(ValidationError, match="clearly not random"):
            RuntimeSecrets(_judgement=Judgement(readings))  # type: ignore[call-arg]
        sound = read(policies, variables_read(policies), environment=Environment(keys), now=datetime.now(UTC))
        with pytest.raises(CheckFailedError):
            model_of(policy())(_judgement=Judgement(sound))  # type: ignore[call-arg]
        for name in ("secrets", "together", "findings", "setup", "other"):
            with pytest.raises(AttributeError):
                setattr(Judgement(readings), name, ())

    def test_it_is_a_field_of_another_model(self, keys: Keys) -> None:
        """Another model may hold an instance, but does not make one from values."""

        class Application(BaseModel):
            secrets: RuntimeSecrets

        made = RuntimeSecrets()
        assert Application(secrets=made).secrets is made
        for value in ({"secret_key": keys[V1]}, keys[V1], None):
            with pytest.raises(TypeError, match="takes no values") as raised:
                Application.model_validate({"secrets": value})
            assert leaks("".join(frames(raised.value)[-2:]), list(keys.values())) == []

    def test_it_is_not_changed(self, keys: Keys) -> None:
        """An instance cannot be changed, and a copy has no changes."""
        made = RuntimeSecrets()
        other = {"secret_key": SecretStr(keys[V2])}
        for change in (
            partial(made.model_copy, update=other),
            partial(made.copy, update=other, include=None),
            partial(made.copy, exclude={"secret_key"}),
        ):
            with pytest.raises(TypeError, match=r"^RuntimeSecrets is not changed without its checks$"):
                change()
        assert made.model_copy() is made.copy(deep=True) is made
        with pytest.raises(AttributeError, match=r"^RuntimeSecrets is frozen$"):
            made.secret_key = SecretStr(keys[V2])  # type: ignore[misc, assignment]
        with pytest.raises(ValidationError, match="frozen"):
            del made.secret_key
        assert made.secret_key.get_secret_value() == keys[V1]

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # getmembers() reads pydantic's old names
    def test_it_shows_nothing(self, keys: Keys) -> None:
        """No repr, dump, copy, encoder, inspection or schema shows a value, and nothing is pickled."""
        made = RuntimeSecrets()
        shown = [
            repr(made.model_dump()),
            made.model_dump_json(),
            repr(dict(made)),
            json.dumps(made.model_json_schema()),
        ]
        for each in (made, copy.copy(made), copy.deepcopy(made), made.model_copy(deep=True), made.secret_key):
            shown += [repr(each), repr(vars(each)), repr(inspect.getmembers(each)), json.dumps(each, default=vars)]
            with pytest.raises(TypeError, match="secrets are not pickled"):
                pickle.dumps(each)
        assert leaks("\n".join(shown), list(keys.values())) == []


class TestModelOfTheHost:
    """A service declares secrets in addition to the library's two, or without them."""

    def test_a_single_secret(self, keys: Keys) -> None:
        """A model of one secret is checked and made."""
        own = model_of(policy(), base=SecretSettings)
        assert found(check(own)) == [("missing", "webhook.key")]
        with pytest.raises(ValidationError, match="WEBHOOK_KEY is not set"):
            own()
        os.environ["WEBHOOK_KEY"] = keys[V1]
        assert ([status.secret for status in check(own).secrets], found(check(own))) == (["webhook.key"], [])
        assert own().key_0.get_secret_value() == keys[V1]  # type: ignore[attr-defined]

    def test_each_that_shares(self, tmp_path: Path) -> None:
        """Of three equal secrets, the second and the third are reported, whatever is wrong with an earlier one."""
        key = good_keys()[V2]
        environ = {V1: key, V2: key, "WEBHOOK_KEY": key}
        for more, before, equal in (
            ({}, ("shared", "secret_v2.key"), [V1, V2]),
            ({V1: ""}, ("missing", "secret.key"), [V2]),
            ({V1: "changeme"}, ("placeholder", "secret.key"), [V2]),
        ):
            report = check(model_of(policy()), environ=environ | more, config_dir=tmp_path, now=NOW)
            assert found(report) == [before, ("shared", "webhook.key")]
            assert [each for each in (V1, V2) if each in report.findings[1].message] == equal


def with_validator(judge: Callable[[str], Any], *fields: str) -> type[RuntimeSecrets]:
    """Declare a model with a validator of the host, which receives each key that passed."""
    names = fields or ("secret_v2_key",)
    validator = field_validator(*names, mode="after")(lambda value: judge(value.get_secret_value()))
    return create_model("Host", __base__=RuntimeSecrets, **in_class(_judge=validator))


def refuse(key: str) -> None:
    """Refuse a key with a text that shows it."""
    raise ValueError(key)


def refuse_together(_model: object) -> None:
    """Refuse a whole model."""
    raise ValueError


def imitate(key: str) -> None:
    """Refuse a key as a check would, with a text that shows it."""
    kind = "format"
    raise PydanticCustomError(kind, "{key}", {"key": key})


TOGETHER = model_validator(mode="after")(refuse_together)
REFUSED_TOGETHER = create_model("Host", __base__=RuntimeSecrets, **in_class(_judge=TOGETHER))


class TestValidatorOfTheHost:
    """A subclass may validate its secrets further, and cannot avoid the checks."""

    @pytest.mark.parametrize(
        ("model", "secret", "why"),
        [
            (with_validator(refuse), "secret_v2.key", "(ValidationError)"),
            (with_validator(imitate), "secret_v2.key", "(ValidationError)"),
            (with_validator(refuse, "secret_key", "secret_v2_key"), "secret.key", "(ValidationError)"),
            (with_validator(raising(SystemExit(0))), None, "(SystemExit)"),
            (REFUSED_TOGETHER, None, "(ValidationError)"),
            (with_validator(SecretStr), None, "(a validator replaced the value of secret_v2.key)"),
        ],
        ids=["refuses", "imitates", "refuses-both", "exits", "refuses-together", "replaces"],
    )
    def test_it_is_an_alert(self, keys: Keys, model: type[RuntimeSecrets], secret: str | None, why: str) -> None:
        """A validator that refuses, replaces or exits is an alert on the first refused secret, without its text."""
        report = check(model, environ=keys, now=NOW)
        assert (found(report), report.ok) == ([("internal", secret)], False)
        assert why in report.findings[0].message
        with pytest.raises((ValidationError, CheckFailedError)) as raised:
            model()
        error = raised.value
        if isinstance(error, ValidationError):
            assert [each["type"] for each in error.errors()] == ["internal"] * len(error.errors())
            assert error.errors()[0]["loc"] == ((secret.replace(".", "_"),) if secret else ())
        shown = [repr(report), repr(error), str(error), *frames(error)]
        assert leaks("\n".join(shown), list(keys.values())) == []

    def test_what_the_checks_found_is_reported_too(self) -> None:
        """The warnings of the checks stay in the report, in order."""
        environ = good_keys() | {f"{name}_EXPIRES_AT": marker(timedelta(days=3)) for name in (V1, V2)}
        first, second = ("expiring", "secret.key"), ("expiring", "secret_v2.key")
        for model, findings in (
            (RuntimeSecrets, [first, second]),
            (with_validator(raising(SystemExit(0))), [("internal", None), first, second]),
            (with_validator(refuse), [first, ("internal", "secret_v2.key"), second]),
        ):
            assert found(check(model, environ=environ, now=NOW)) == findings

    def test_what_a_hook_puts_on_an_instance(self, keys: Keys) -> None:
        """An attribute that a hook sets would show in `vars()`, so the settings are refused."""

        class Puts(RuntimeSecrets):
            def model_post_init(self, _context: object) -> None:
                vars(self)["derived"] = keys[V1]

        assert found(check(Puts)) == [("internal", None)]
        with pytest.raises(CheckFailedError, match="an attribute was added to the settings"):
            Puts()
