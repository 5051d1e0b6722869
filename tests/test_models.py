"""The settings models: declared once, made only through the checks, and showing nothing."""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import os
import pickle
import traceback
import types
from datetime import UTC, datetime, timedelta
from functools import cached_property
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pytest
import rich
from conftest import NOW, V1, V2, Checker, found, good_keys, listed, marker
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
)
from pydantic_core import PydanticCustomError
from pydantic_settings import SettingsConfigDict

from robodj_secretguard import Length, Material, RuntimeSecrets, SecretPolicy, SecretSettings, check
from robodj_secretguard.errors import CheckFailedError
from robodj_secretguard.material import fingerprint
from robodj_secretguard.models import setup_of
from robodj_secretguard.report import Judgement
from robodj_secretguard.sealed import SealedStr
from robodj_secretguard.sources import Environment, ModelSetup, read, variables_read

if TYPE_CHECKING:
    from pathlib import Path


def policy(name: str = "webhook.key", variable: str = "WEBHOOK_KEY", **fields: Any) -> SecretPolicy:
    """Declare one more secret."""
    return SecretPolicy(
        name=name,
        variable=variable,
        owner="Integrations",
        backup_owner="Release Manager",
        cadence=timedelta(days=90),
        warn_before=timedelta(days=14),
        **fields,
    )


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Put generated keys into this process's environment."""
    for name in [name for name in os.environ if name.startswith("ROBODJ_")]:
        monkeypatch.delenv(name)
    made = good_keys()
    for name, key in made.items():
        monkeypatch.setenv(name, key)
    monkeypatch.chdir(tmp_path)
    return made


class Cached:
    """What a model may not inherit."""

    @cached_property
    def derived(self) -> str:
        return ""


def _computed() -> None:
    class Shows(RuntimeSecrets):
        @computed_field  # type: ignore[prop-decorator]
        @property
        def derived(self) -> str:
            return ""


def _by_field() -> None:
    class Shows(RuntimeSecrets):
        @field_serializer("secret_key")
        def shown(self, value: SecretStr) -> str:
            return value.get_secret_value()


def _whole() -> None:
    class Shows(RuntimeSecrets):
        @model_serializer
        def shown(self) -> dict[str, str]:
            return {}


def _encoder() -> None:
    with pytest.warns(DeprecationWarning, match="json_encoders"):

        class Shows(RuntimeSecrets):
            model_config = SettingsConfigDict(json_encoders={SecretStr: SecretStr.get_secret_value})


def _annotated() -> None:
    class Shows(RuntimeSecrets):
        own: Annotated[SecretStr, policy(), PlainSerializer(SecretStr.get_secret_value)]


def _cached() -> None:
    class Shows(Cached, RuntimeSecrets):
        pass


SHOWING = {"computed": _computed, "field": _by_field, "model": _whole, "encoder": _encoder, "type": _annotated}


class SubPlain(PlainSerializer):
    """A serializer by another name."""


def _subclass() -> None:
    class Shows(RuntimeSecrets):
        own: Annotated[SecretStr, policy(), SubPlain(SecretStr.get_secret_value)]


def _schema() -> None:
    class Shows(RuntimeSecrets):
        own: Annotated[SecretStr, policy(), GetPydanticSchema(lambda kind, handler: handler(kind))]


def _of_the_model() -> None:
    class Shows(RuntimeSecrets):
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            return handler(source)


SHOWING |= {"cached": _cached, "subclass": _subclass, "schema": _schema, "of the model": _of_the_model}


class TestDeclaration:
    """Every field is one declared secret; whatever else is refused when the class is made."""

    @pytest.mark.parametrize(
        "field",
        [
            (SecretStr, ...),
            (SecretStr, SecretStr("dev")),
            (Annotated[SecretStr, policy()], SecretStr("dev")),
            (Annotated[SecretStr, policy()], Field(default_factory=lambda: SecretStr("dev"))),
            (Annotated[SecretStr | None, policy()], ...),
            (Annotated[SecretStr, policy()] | None, None),
            (Annotated[str, policy()], ...),
            (Annotated[SecretStr, policy(), policy("other.key", "OTHER_KEY")], ...),
            (Annotated[SecretStr, policy()], Field(alias="other")),
            (Annotated[SecretStr, policy()], Field(validation_alias="other")),
            (int, 8000),
        ],
    )
    def test_not_a_declared_secret(self, field: Any) -> None:
        """Defaults, optionals, aliases, undeclared secrets and ordinary settings are a TypeError."""
        with pytest.raises(TypeError, match="must be declared as"):
            create_model("Refused", __base__=SecretSettings, field=field)

    def test_an_inherited_secret_cannot_be_loosened(self) -> None:
        """A subclass does not turn a declared secret into something else."""
        with pytest.raises(TypeError, match=r"Loose\.secret_key must be declared as"):
            create_model("Loose", __base__=RuntimeSecrets, secret_key=(SecretStr, SecretStr("dev")))

    def test_an_inherited_secret_keeps_its_policy(self) -> None:
        """Nor is it given another policy, or hidden by a class variable; declared again as it is, it stays."""
        own = policy()
        base = create_model("Base", __base__=RuntimeSecrets, own=(Annotated[SecretStr, own], ...))
        create_model("Same", __base__=base, own=(Annotated[SecretStr, own], ...))
        changed = policy(material=Material(base64url=Length(43), hexadecimal=Length(66)))
        with pytest.raises(TypeError, match=r"^Other must keep every secret that it inherits, with its policy$"):
            create_model("Other", __base__=base, own=(Annotated[SecretStr, changed], ...))
        with pytest.raises(TypeError, match=r"^Hidden must keep every secret that it inherits"):

            class Hidden(base):
                own: ClassVar[SecretStr] = SecretStr("dev")

    def test_no_hidden_attributes(self) -> None:
        """A name that begins with an underscore would be no field, and so no declared secret."""
        with pytest.raises(TypeError, match=r"^Hidden must declare secrets alone"):

            class Hidden(RuntimeSecrets):
                _own: Annotated[SecretStr, policy()]

    @pytest.mark.parametrize("declaration", SHOWING)
    def test_nothing_that_could_show_a_key(self, declaration: str) -> None:
        """A computed field, a cached property or a serializer, declared or inherited, is a TypeError."""
        with pytest.raises(TypeError, match=r"^Shows has a computed field, a cached property or a serializer"):
            SHOWING[declaration]()

    @pytest.mark.parametrize("directory", ["config", "", b"config", 5], ids=str)
    def test_a_directory_that_depends_on_where_it_is_started(self, directory: Any) -> None:
        """The config directory of a model is an absolute path."""
        with pytest.raises(TypeError, match=r"^Loose: config_dir must be an absolute path"):

            class Loose(RuntimeSecrets, config_dir=directory):
                pass

    def test_the_set_up_can_only_be_tightened(self, tmp_path: Path) -> None:
        """A subclass keeps what it inherits, may say it again, and may not loosen it."""

        class Strict(RuntimeSecrets, config_dir=tmp_path, file_fallback=False, require_revocation_list=True):
            pass

        class Same(Strict, config_dir=str(tmp_path), file_fallback=False, require_revocation_list=True):
            pass

        assert setup_of(Same) == setup_of(Strict) == ModelSetup(str(tmp_path), False, True)  # noqa: FBT003
        assert setup_of(RuntimeSecrets) == ModelSetup()
        for name, value in (
            ("config_dir", tmp_path / "other"),
            ("file_fallback", True),
            ("require_revocation_list", False),
        ):
            with pytest.raises(TypeError, match=rf"^Loose can only tighten .*: its {name} conflicts$"):
                types.new_class("Loose", (Strict,), {name: value})
        with pytest.raises(TypeError, match="are true or false"):
            types.new_class("Loose", (Strict,), {"file_fallback": "no"})

    def test_two_set_ups(self, tmp_path: Path) -> None:
        """Of several models the strictest counts; two directories are one too many."""

        class One(SecretSettings, file_fallback=False):
            one: Annotated[SecretStr, policy("one.key", "ONE_KEY")]

        class Two(SecretSettings, config_dir=tmp_path, require_revocation_list=True):
            two: Annotated[SecretStr, policy("two.key", "TWO_KEY")]

        class Both(One, Two):
            pass

        assert setup_of(Both) == ModelSetup(str(tmp_path), False, True)  # noqa: FBT003
        assert tuple(Both.secret_policies) == ("two", "one")

    def test_none_at_all(self) -> None:
        """A model that declares nothing would pass unset."""
        with pytest.raises(TypeError, match="declares no secret"):
            create_model("Empty", __base__=SecretSettings)

    @pytest.mark.parametrize(
        ("other", "shared"),
        [
            (policy("secret.key"), "a name"),
            (policy(variable=V1), "a variable"),
            (policy(variable=f"{V1}_EXPIRES_AT"), "a variable"),
            (policy(expiry_variable=f"{V2}_EXPIRES_AT"), "a variable"),
            (policy(variable="ROBODJ_PROTECTED_ENV"), "a variable"),
            (policy(variable="ROBODJ_REVOKED_FINGERPRINTS"), "a variable"),
            (policy(expiry_variable="ROBODJ_REVOKED_FINGERPRINTS"), "a variable"),
            (policy(variable="ROBODJ_OPERATIONS_LOG"), "a variable"),
            (policy(expiry_variable="ROBODJ_OPERATIONS_LOG"), "a variable"),
            (policy(file="config/Secret.key"), "a file"),
            (policy(file="config/revoked.fingerprints"), "a file"),
            (policy(file="config/Revoked.Fingerprints"), "a file"),
            (policy(file="config/logs/secret_operations.jsonl"), "a file"),
            (policy(file="config/Logs/secret_operations.JSONL"), "a file"),
            (policy("revoked.fingerprints"), "a file"),
        ],
    )
    def test_two_that_share(self, other: SecretPolicy, shared: str) -> None:
        """Two declared secrets have their own names, variables and files, on file systems without case too.

        Those of the library's own are nobody's.
        """
        with pytest.raises(TypeError, match=f"two secrets that share {shared}"):
            create_model("Sharing", __base__=RuntimeSecrets, other=(Annotated[SecretStr, other], ...))

    @pytest.mark.parametrize(
        "file",
        [
            "config/revoked.fingerprints.txt",
            "config/keys/revoked.fingerprints",
            "config/secret_operations.jsonl",
            "config/logs/secret_operations.jsonl.key",
        ],
    )
    def test_a_file_that_is_nearly_reserved(self, checker: Checker, file: str) -> None:
        """A secret may have any other file, and that is no misnamed revocation list."""
        other = policy(file=file)
        near = create_model("Near", __base__=RuntimeSecrets, other=(Annotated[SecretStr, other], ...))
        path = checker.config.parent / file
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(good_keys()[V1])
        path.chmod(0o600)
        report = check(near, environ=good_keys(), config_dir=checker.config, now=NOW)
        assert found(report) == [("file-fallback", "webhook.key")]
        assert listed(report) == ((), 0)

    @pytest.mark.parametrize("model", [SecretSettings, int, None, RuntimeSecrets.secret_policies])
    def test_what_is_no_model_is_not_checked(self, model: Any) -> None:
        """`check` raises for a programming error: it has nothing to report on."""
        with pytest.raises(TypeError, match="must be a subclass of SecretSettings"):
            check(model)


class TestInstance:
    """An instance exists only of values that passed."""

    def test_made_from_the_environment(self, keys: dict[str, str]) -> None:
        """It holds the values, under the names of its fields."""
        made = RuntimeSecrets()
        assert made.secret_key.get_secret_value() == keys[V1]
        assert made.secret_v2_key.get_secret_value() == keys[V2]

    def test_made_from_a_file(self, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The fallback file delivers what the environment does not, as for `guard()`."""
        monkeypatch.delenv(V1)
        (tmp_path / "config").mkdir(mode=0o700)
        (tmp_path / "config" / "secret.key").write_text(keys[V1])
        (tmp_path / "config" / "secret.key").chmod(0o600)
        assert RuntimeSecrets().secret_key.get_secret_value() == keys[V1]
        monkeypatch.setenv("ROBODJ_PROTECTED_ENV", "true")
        with pytest.raises(ValidationError, match="fallback files are off"):
            RuntimeSecrets()

    @pytest.mark.parametrize(
        ("change", "check_id"),
        [
            ({V1: None}, "missing"),
            ({V1: "changeme"}, "placeholder"),
            ({V1: "short"}, "format"),
            ({V1: "Zy" * 30}, "weak"),
            ({f"{V1}_EXPIRES_AT": marker(-timedelta(days=90))}, "expired"),
            ({"ROBODJ_PROTECTED_ENV": "maybe"}, "setting"),
            ({V1: V2}, "shared"),
        ],
    )
    def test_the_same_rules(
        self, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch, change: dict[str, str | None], check_id: str
    ) -> None:
        """Made directly it applies what `guard()` applies, and its error shows no value."""
        for name, value in change.items():
            if value is None:
                monkeypatch.delenv(name)
            else:
                monkeypatch.setenv(name, keys.get(value, value))
        with pytest.raises(ValidationError) as raised:
            RuntimeSecrets()
        error = raised.value
        assert check_id in [entry["type"] for entry in error.errors()]
        assert "input_value" not in str(error)
        shown = [str(error), repr(error), str(error.errors()), error.json(), repr(vars(error))]
        frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
        shown += [repr(frame.locals) for frame in frames[1:]]  # the first is this test's own
        assert leaks("\n".join(shown), list(keys.values())) == []
        with contextlib.suppress(TypeError):  # what holds a value is not pickled
            assert leaks(repr(pickle.dumps(error.errors())), list(keys.values())) == []

    @pytest.mark.parametrize(("variable", "field"), [(V1, "secret_key"), (V2, "secret_v2_key")])
    @pytest.mark.parametrize("place", ["file", "variable"])
    def test_a_revoked_key(
        self, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch, variable: str, field: str, place: str
    ) -> None:
        """Made directly it refuses a revoked key, of that secret alone."""
        listed = fingerprint(SealedStr(keys[variable]))
        if place == "file":
            os.mkdir("config", 0o700)
            with open("config/revoked.fingerprints", "w", encoding="utf-8") as file:
                file.write(listed)
        else:
            monkeypatch.setenv("ROBODJ_REVOKED_FINGERPRINTS", listed)
        with pytest.raises(ValidationError) as raised:
            RuntimeSecrets()
        assert [(entry["type"], entry["loc"], entry["msg"]) for entry in raised.value.errors()] == [
            ("revoked", (field,), f"The key is revoked: {listed} is on the revocation list.")
        ]
        assert leaks(f"{raised.value.errors()} {raised.value!r}", list(keys.values())) == []

    def test_a_warning_hides_no_alert(self, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """What is said of a secret before the alert, as that it comes from a file, lets no instance be made."""
        monkeypatch.delenv(V1)
        os.mkdir("config", 0o700)
        with open("config/secret.key", "w", encoding="utf-8") as file:
            file.write(keys[V1])
        os.chmod("config/secret.key", 0o600)
        monkeypatch.setenv("ROBODJ_REVOKED_FINGERPRINTS", fingerprint(SealedStr(keys[V1])))
        with pytest.raises(ValidationError) as raised:
            RuntimeSecrets()
        assert [(entry["type"], entry["loc"]) for entry in raised.value.errors()] == [("revoked", ("secret_key",))]

    def test_the_first_of_its_alerts_is_its_error(self, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Of several on one secret it is the first in the order of the checks, as in a report."""
        monkeypatch.setenv(V1, keys[V1][:20])
        monkeypatch.setenv(f"{V1}_EXPIRES_AT", "2020-01-01T00:00Z")
        with pytest.raises(ValidationError) as raised:
            RuntimeSecrets()
        assert [entry["type"] for entry in raised.value.errors()] == ["format"]
        monkeypatch.setenv(V1, keys[V1])
        monkeypatch.setenv("ROBODJ_REVOKED_FINGERPRINTS", fingerprint(SealedStr(keys[V1])))
        with pytest.raises(ValidationError) as raised:
            RuntimeSecrets()
        assert [entry["type"] for entry in raised.value.errors()] == ["expired"]

    def test_a_revocation_list_that_cannot_be_read(self, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor is it made where a revoked key could pass; a key that was pasted there is not shown."""
        monkeypatch.setenv("ROBODJ_REVOKED_FINGERPRINTS", keys[V1])
        with pytest.raises(ValidationError) as raised:
            RuntimeSecrets()
        assert [(entry["type"], entry["loc"]) for entry in raised.value.errors()] == [("revocation-list", ())]
        assert leaks(f"{raised.value.errors()} {raised.value!r}", list(keys.values())) == []

    def test_a_list_of_other_keys(self, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Other keys that are revoked do not matter."""
        other = fingerprint(SealedStr(good_keys()[V1]))
        monkeypatch.setenv("ROBODJ_REVOKED_FINGERPRINTS", other)
        assert RuntimeSecrets().secret_key.get_secret_value() == keys[V1]

    def test_it_takes_no_values(self, keys: dict[str, str]) -> None:
        """A value that is passed would not have been delivered as the policy says; it is not repeated."""
        with pytest.raises(TypeError, match="takes no values") as raised:
            RuntimeSecrets.model_validate({"secret_key": keys[V1]})
        last = traceback.TracebackException.from_exception(raised.value, capture_locals=True).stack[-1]
        assert leaks(repr(last.locals), list(keys.values())) == []

    def test_it_takes_no_judgement_but_that_of_the_rules(self, keys: dict[str, str]) -> None:
        """One that says nothing of a weak key is not taken, and one of the rules is not changed."""

        class Lenient(Judgement):
            findings = together = ()

        policies = tuple(RuntimeSecrets.secret_policies.values())
        weak = Environment(keys | {V1: "ab" * 30 + "-Z"})
        readings = read(policies, variables_read(policies), environment=weak, now=datetime.now(UTC))
        with pytest.raises(TypeError, match="takes no values"):
            RuntimeSecrets(_judgement=Lenient(readings))  # type: ignore[call-arg]
        with pytest.raises(ValidationError, match="plainly not random"):
            RuntimeSecrets(_judgement=Judgement(readings))  # type: ignore[call-arg]
        for name in ("secrets", "together", "findings", "setup", "other"):
            with pytest.raises(AttributeError):
                setattr(Judgement(readings), name, ())

    @pytest.mark.parametrize(
        "entrance",
        [
            *("__call__", "model_construct", "model_validate", "model_validate_json", "model_validate_strings"),
            *("construct", "parse_obj", "parse_raw", "parse_file", "from_orm", "validate"),
        ],
    )
    def test_it_is_not_made_of_values(self, keys: dict[str, str], entrance: str) -> None:
        """Every entrance of pydantic's, those of its old names too, is closed to values: they were not delivered."""
        enter = RuntimeSecrets if entrance == "__call__" else getattr(RuntimeSecrets, entrance)
        with pytest.raises(TypeError, match="takes no values"):
            enter(secret_key=SecretStr(keys[V1]))

    @pytest.mark.parametrize("judgement", ["", "a key", {}, ((), ()), SimpleNamespace(together=(), secrets=())])
    def test_it_takes_no_judgement_but_its_own(self, keys: dict[str, str], judgement: object) -> None:
        """What is passed in the place of what was read and judged is a value, empty or of the same shape too."""
        assert RuntimeSecrets().secret_key.get_secret_value() == keys[V1]
        with pytest.raises(TypeError, match="takes no values"):
            RuntimeSecrets(_judgement=judgement)  # type: ignore[call-arg]

    def test_it_is_a_field_of_another_model(self, keys: dict[str, str]) -> None:
        """Another model may hold an instance, and makes none of values."""

        class Application(BaseModel):
            secrets: RuntimeSecrets

        made = RuntimeSecrets()
        assert Application(secrets=made).secrets is made
        for value in ({"secret_key": keys[V1]}, keys[V1], None):
            with pytest.raises(TypeError, match="takes no values") as raised:
                Application.model_validate({"secrets": value})
            ours = traceback.TracebackException.from_exception(raised.value, capture_locals=True).stack[-2:]
            assert leaks(repr([frame.locals for frame in ours]), list(keys.values())) == []

    def test_it_is_not_changed_without_checks(self, keys: dict[str, str]) -> None:
        """Nor is a copy an unchecked change of it."""
        made = RuntimeSecrets()
        with pytest.raises(TypeError, match="not changed without its checks"):
            made.model_copy(update={"secret_key": SecretStr(keys[V2])})
        assert made.model_copy() is made.copy(deep=True) is made

    def test_it_is_frozen(self, keys: dict[str, str]) -> None:
        """Assignment is refused, with a constant text."""
        with pytest.raises(AttributeError, match=r"^RuntimeSecrets is frozen$"):
            RuntimeSecrets().secret_key = SecretStr(keys[V2])  # type: ignore[misc]

    def test_nothing_is_taken_out_of_it(self, keys: dict[str, str]) -> None:
        """A secret that was checked stays there."""
        made = RuntimeSecrets()
        with pytest.raises(ValidationError, match="frozen"):
            del made.secret_key
        assert made.secret_key.get_secret_value() == keys[V1]

    def test_env_files_are_never_read(self, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """A `.env` file in the working directory, and one that a subclass names, are not sources."""
        monkeypatch.delenv(V1)
        with open(".env", "w", encoding="utf-8") as file:
            file.write(f"{V1}={keys[V1]}\n")

        class WithEnvFile(RuntimeSecrets, env_file=".env"):
            pass

        with pytest.raises(ValidationError, match="missing"):
            WithEnvFile()

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # looking at every member meets pydantic's old names
    def test_nothing_of_the_environment_shows(self, keys: dict[str, str]) -> None:
        """No repr, dump, copy, encoder, inspection or schema has a value."""
        made = RuntimeSecrets()
        rendered = StringIO()
        rich.inspect(made, private=True, dunder=True, console=rich.console.Console(file=rendered, width=200))
        rich.inspect(made.secret_key, private=True, dunder=True, console=rich.console.Console(file=rendered, width=200))
        for each in (made, copy.copy(made), copy.deepcopy(made), made.model_copy(deep=True), made.secret_key):
            shown = [repr(each), repr(vars(each)), repr(inspect.getmembers(each))]
            shown.append(json.dumps(each, default=vars))
            assert leaks("\n".join(shown), list(keys.values())) == []
            with pytest.raises(TypeError, match="secrets are not pickled"):
                pickle.dumps(each)
        shown = [repr(made.model_dump()), made.model_dump_json(), repr(dict(made)), rendered.getvalue()]
        shown.append(json.dumps(RuntimeSecrets.model_json_schema()))
        assert leaks("\n".join(shown), list(keys.values())) == []

    def test_the_debug_variable_of_pydantic_settings_shows_nothing(
        self, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its log of every source's values has sealed ones."""
        monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
        with caplog.at_level("DEBUG"):
            RuntimeSecrets()
        assert leaks(caplog.text, list(keys.values())) == []


class TestModelOfTheHost:
    """A service declares secrets of its own, beside the two or alone."""

    class Own(SecretSettings):
        """Declares one secret."""

        webhook_key: Annotated[SecretStr, policy()]

    def test_a_single_secret_is_checked(self, tmp_path: Path) -> None:
        """A model of one secret is a model."""
        key = good_keys()[V1]
        good = check(self.Own, environ={"WEBHOOK_KEY": key}, config_dir=tmp_path, now=NOW)
        assert (good.ok, found(good)) == (True, [])
        assert [status.secret for status in good.secrets] == ["webhook.key"]
        assert found(check(self.Own, environ={}, config_dir=tmp_path, now=NOW)) == [("missing", "webhook.key")]

    def test_each_that_shares_is_told(self, tmp_path: Path) -> None:
        """Of three that are one, the second and the third are; a missing or a placeholder before them hides nothing."""
        key = good_keys()[V2]
        environ = {V1: key, V2: key, "WEBHOOK_KEY": key}
        three = create_model("Three", __base__=RuntimeSecrets, webhook_key=(Annotated[SecretStr, policy()], ...))
        report = check(three, environ=environ, config_dir=tmp_path, now=NOW)
        assert found(report) == [("shared", "secret_v2.key"), ("shared", "webhook.key")]
        assert "that of secret.key, secret_v2.key are equal" in report.findings[1].message
        for first, check_id in (("", "missing"), ("changeme", "placeholder")):
            report = check(three, environ=environ | {V1: first}, config_dir=tmp_path, now=NOW)
            assert found(report) == [(check_id, "secret.key"), ("shared", "webhook.key")]
            assert "that of secret_v2.key are equal" in report.findings[1].message

    def test_each_owner_is_told_what_is_theirs(self, tmp_path: Path) -> None:
        """A finding about a secret names its owner, one about the set-up all of them."""
        both = create_model("Both", __base__=RuntimeSecrets, webhook_key=(Annotated[SecretStr, policy()], ...))
        environ = good_keys() | {"WEBHOOK_KEYS": "x", f"{V1}S": "x", "ROBODJ_PROTECTED_ENV": "maybe"}
        environ["ROBODJ_REVOKED_FINGERPRINTS"] = f"{fingerprint(SealedStr(environ[V1]))},wrong"
        report = check(both, environ=environ, config_dir=tmp_path, now=NOW)
        assert [(str(finding.check), finding.secret, finding.owner) for finding in report.findings] == [
            ("setting", None, "Security Operations, Integrations"),
            ("revocation-list", None, "Security Operations, Integrations"),
            ("revoked", "secret.key", "Security Operations"),
            ("near-miss", "secret.key", "Security Operations"),
            ("missing", "webhook.key", "Integrations"),
            ("near-miss", "webhook.key", "Integrations"),
        ]

    def test_a_typo_of_two_names(self, tmp_path: Path) -> None:
        """It is told of the first that is read: of the library's own before a secret's, and of these as declared."""
        variables = ["WEBHOOK_KEY_A", "WEBHOOK_KEY_B", "ROBODJ_PROTECTED_ENW"]
        declared = {f"key_{at}": policy(f"{at}.key", variable) for at, variable in enumerate(variables)}
        fields: Any = {name: (Annotated[SecretStr, each], ...) for name, each in declared.items()}
        near = create_model("Near", __base__=SecretSettings, **fields)
        environ = {variable: good_keys()[V1] for variable in variables}
        environ |= {"WEBHOOK_KEY_C": "x", "ROBODJ_PROTECTED_EN": "x"}
        report = check(near, environ=environ, config_dir=tmp_path, now=NOW)
        assert found(report) == [("near-miss", None), ("near-miss", "0.key")]
        assert not report.ok

    def test_a_single_secret_is_made(self, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Its instance holds that one, and is not made without it."""
        with pytest.raises(ValidationError, match="WEBHOOK_KEY is unset"):
            self.Own()
        monkeypatch.setenv("WEBHOOK_KEY", keys[V1])
        assert self.Own().webhook_key.get_secret_value() == keys[V1]


class TestValidatorOfTheHost:
    """A subclass may judge its secrets further."""

    class Stricter(RuntimeSecrets):
        """Refuses every key."""

        @field_validator("secret_v2_key", mode="after")
        @classmethod
        def _refuse(cls, value: SecretStr) -> SecretStr:
            msg = f"not {value.get_secret_value()}"
            raise ValueError(msg)

    class Exiting(RuntimeSecrets):
        """Ends the process with a success."""

        @field_validator("secret_v2_key", mode="after")
        @classmethod
        def _exit(cls, _value: SecretStr) -> SecretStr:
            raise SystemExit(0)

    def test_it_is_an_alert_without_its_text(self) -> None:
        """The error's type and the secret are told, its text is not."""
        keys = good_keys()
        report = check(self.Stricter, environ=keys, now=NOW)
        assert [(str(finding.check), finding.secret) for finding in report.findings] == [("internal", "secret_v2.key")]
        assert not report.ok
        assert "ValidationError" in report.findings[0].message
        assert leaks(repr(report), list(keys.values())) == []

    class Replacing(RuntimeSecrets):
        """Returns another value than the one that was checked."""

        @field_validator("secret_v2_key", mode="after")
        @classmethod
        def _replace(cls, value: SecretStr) -> SecretStr:
            return SecretStr(value.get_secret_value())

    def test_another_value_is_not_taken(self, keys: dict[str, str]) -> None:
        """What a validator puts in the place of the checked value is refused, were it the same text."""
        report = check(self.Replacing, environ=keys, now=NOW)
        assert found(report) == [("internal", None)]
        assert report.findings[0].message.startswith(
            "The check itself failed (a validator replaced the value of secret_v2.key): "
        )
        with pytest.raises(CheckFailedError, match="a validator replaced the value of"):
            self.Replacing()

    class Imitating(RuntimeSecrets):
        """Refuses with a key in the text of what looks like a check of ours."""

        @field_validator("secret_v2_key", mode="after")
        @classmethod
        def _refuse(cls, value: SecretStr) -> SecretStr:
            kind = "format"
            raise PydanticCustomError(kind, "{key}", {"key": value.get_secret_value()})

    @pytest.mark.parametrize("model", [Stricter, Imitating])
    def test_its_text_is_in_no_error(self, keys: dict[str, str], model: type[RuntimeSecrets]) -> None:
        """An instance that is made directly fails with an error that says which secret, and nothing of the text."""
        with pytest.raises(ValidationError) as raised:
            model()
        assert [(entry["type"], entry["loc"]) for entry in raised.value.errors()] == [("internal", ("secret_v2_key",))]
        assert leaks(f"{raised.value.errors()} {raised.value!r}", list(keys.values())) == []

    def test_the_first_that_it_refuses_is_told(self) -> None:
        """A validator that refuses several secrets is one alert, on the first of them."""

        class Strictest(RuntimeSecrets):
            @field_validator("secret_key", "secret_v2_key", mode="after")
            @classmethod
            def _refuse(cls, _value: SecretStr) -> SecretStr:
                raise ValueError

        assert found(check(Strictest, environ=good_keys(), now=NOW)) == [("internal", "secret.key")]

    def test_what_the_checks_found_is_told_beside_it(self) -> None:
        """Their warnings stay in the report, and all of it is in order."""
        environ = good_keys() | {f"{name}_EXPIRES_AT": marker(timedelta(days=3)) for name in (V1, V2)}
        first, second = ("expiring", "secret.key"), ("expiring", "secret_v2.key")
        assert found(check(RuntimeSecrets, environ=environ, now=NOW)) == [first, second]
        assert found(check(self.Exiting, environ=environ, now=NOW)) == [("internal", None), first, second]
        assert found(check(self.Stricter, environ=environ, now=NOW)) == [first, ("internal", "secret_v2.key"), second]

    def test_it_cannot_end_the_process(self) -> None:
        """A `SystemExit` inside is no way out of the checks."""
        report = check(self.Exiting, environ=good_keys(), now=NOW)
        assert [(str(finding.check), finding.secret) for finding in report.findings] == [("internal", None)]
        assert "SystemExit" in report.findings[0].message


def test_what_a_hook_puts_on_an_instance(keys: dict[str, str]) -> None:
    """It would show in `vars()`: the settings are refused."""

    class Puts(RuntimeSecrets):
        def model_post_init(self, _context: object) -> None:
            vars(self)["derived"] = keys[V1]

    assert found(check(Puts)) == [("internal", None)]
    with pytest.raises(CheckFailedError, match="an attribute was put on the settings"):
        Puts()


def test_a_marker_of_the_services_own_secret() -> None:
    """A marker without the last word of its variable is found; another variable of that service is none."""

    class Service(SecretSettings):
        own: Annotated[SecretStr, policy("own.key", "ROBODJ_WEBHOOK_KEY")]

    environ = {"ROBODJ_WEBHOOK_KEY": good_keys()[V1]}
    for name, fired in (
        ("ROBODJ_WEBHOOK_EXPIRES_AT", [("near-miss", "own.key")]),
        ("ROBODJ_WEBHOOK_TOKEN_EXPIRE_MINUTES", []),
        ("ROBODJ_EXPIRES_AT", []),
    ):
        assert found(check(Service, environ=environ | {name: "2020-01-01T00:00:00Z"}, now=NOW)) == fired
