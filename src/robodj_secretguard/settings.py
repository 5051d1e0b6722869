"""The settings models, which declare a service's secrets, and the only way to make an instance of one."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import chain
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NoReturn, Self, TypeVar

from pydantic import SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict
from typing_extensions import TypeIs  # pydantic depends on it

from robodj_secretguard.running.keyset import KeySet
from robodj_secretguard.running.store import KeyStore, Secret, registered
from robodj_secretguard.secret.frozen import CheckFailedError
from robodj_secretguard.secret.material import Generator, Length
from robodj_secretguard.secret.policy import Material, SecretPolicy
from robodj_secretguard.secret.sealed import Sealed, contain
from robodj_secretguard.startup.inputs import (
    MOST_REFRESH_SECONDS,
    SETTINGS,
    variables_read,
)
from robodj_secretguard.startup.readings import (
    NO_SETUP,
    OPERATIONS_FILE,
    REVOKED_FILE,
    Environment,
    ModelSetup,
    Reading,
    StrPath,
    config_directory,
    has_directory,
    read,
)
from robodj_secretguard.startup.report import Judgement, Report
from robodj_secretguard.startup.rules import Check

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pydantic._internal._model_construction import ModelMetaclass

    from robodj_secretguard.running.state import RunningState
    from robodj_secretguard.startup.readings import ManagedSource, RevocationStatus

    class _Meta(ModelMetaclass):
        """Without the `dataclass_transform` of pydantic's, which makes each field an argument."""

    class _Base(BaseSettings, metaclass=_Meta):
        def __init__(self) -> None: ...

else:
    _Base = BaseSettings

_SCHEMA = "__get_pydantic_core_schema__"


class LiveField:
    """The attribute of a field: the live secret in the store of the instance, or `None` for one that is not set."""

    __slots__ = ("_field", "_name")

    def __init__(self, field: str, name: str) -> None:
        self._field = field
        self._name = name

    def __get__(self, secrets: "SecretSettings | None", _model: type | None = None) -> Secret | None:
        if secrets is None:  # pydantic would take an object for a default
            raise AttributeError(self._field)
        return store_of(secrets).field(self._name)

    def __set__(self, secrets: "SecretSettings", value: object) -> NoReturn:
        del value
        raise AttributeError(f"{type(secrets).__name__} is frozen")


class SecretSettings(Sealed, _Base, defer_build=True):
    """A settings model in which every field is a declared secret. Subclass it, or `RuntimeSecrets`.

    An instance takes no arguments. It reads the environment and the fallback files, and applies the rules of `guard()`.
    Each field is a live `Secret`, which follows every change while the service runs. An optional field is `None` while
    the secret is not set. The instances of a model that have the same source share the same secrets. An instance is
    frozen, shows no value, and refuses pickling.

    `class ServiceSecrets(RuntimeSecrets, config_dir=ROOT / "config", require_revocation_list=True)` declares the set-up
    together with the secrets. The service, the gate, `exec` and the tests use it. A subclass can only tighten it.

    Args:
        config_dir: an argument of the class: the config directory, as an absolute path; by default `config` under the
            working directory. `ROBODJ_CONFIG_DIR` and the argument of `guard()` replace it. Then the revocation lists
            of both directories are read.
        file_fallback: an argument of the class: whether fallback files may deliver keys (policy section 2). Where it is
            false, `ROBODJ_ALLOW_FILE_SECRET_FALLBACK=true` turns fallback files on.
        require_revocation_list: an argument of the class: whether a revocation list must exist (policy section 4).
        secrets_dir: an argument of the class: a directory whose files have the names of the variables, as an absolute
            path (policy section 2). Its keys win over the environment. Where it does not exist, the environment
            delivers. `ROBODJ_SECRETS_DIR` replaces it; there, `/dev/null` is none.
        refresh: an argument of the class: after which time `guard()` reads that directory and the revocation list
            again, and switches to keys that pass; whole seconds from 1 to 900, by default never.
            `ROBODJ_SECRETS_REFRESH`, in seconds, replaces it.

    Raises:
        TypeError: in the definition of a subclass:

            - There is no field, or a field is not `Annotated[Secret, SecretPolicy(...)]`.
            - A field is `Secret | None` without `required=False`, or the reverse, or has a default or an alias.
            - Two secrets share a name, a variable or a file, or only one of them names the other as `shared_with`.
            - An inherited secret is missing or has another policy.
            - A computed field, a cached property or a serializer could show a key.
            - The set-up is invalid, or looser than an inherited one.

            In the construction of an instance: a value was passed.
        pydantic.ValidationError: in the construction of an instance: a secret is refused. The error shows no value.
        robodj_secretguard.errors.CheckFailedError: in the construction of an instance: a check itself failed.
    """

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True)

    secret_policies: ClassVar[Mapping[str, SecretPolicy]] = MappingProxyType({})
    """The policies by field, in declared order."""
    if not TYPE_CHECKING:  # pragma: no branch - a service's type checker and editor show nothing of this
        __slots__ = ("_store",)
        _setup: ClassVar[ModelSetup] = NO_SETUP

        def __init__(self, **values: Any) -> None:
            judgement = values.pop("_judgement", None)  # `guard()` and a refresh pass it
            if values or type(judgement) not in (Judgement, NoneType):
                values.clear()
                del judgement
                _refuse_values(type(self))
            try:
                contain(lambda: _fill(self, judgement))
            except BaseException:
                vars(self).clear()  # a validator may have replaced a sealed value by text
                raise

        @model_validator(mode="before")
        @classmethod
        def _refuse_other_input(cls, values: Any) -> Any:
            if not isinstance(values, dict):  # only `__init__` passes a dict
                del values
                _refuse_values(cls)
            return values

    def __init_subclass__(
        cls,
        *,
        config_dir: StrPath | None = None,
        file_fallback: bool | None = None,
        require_revocation_list: bool | None = None,
        secrets_dir: StrPath | None = None,
        refresh: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        directory: Any = secrets_dir or cls.model_config.get("secrets_dir")  # pydantic-settings takes the argument
        setattr(  # noqa: B010 - type checkers do not know it
            cls,
            "_setup",
            _declared_setup(
                cls,
                {"config_dir": config_dir, "secrets_dir": directory},
                {"file_fallback": file_fallback, "require_revocation_list": require_revocation_list},
                refresh,
            ),
        )

    @classmethod
    def __pydantic_init_subclass__(cls, **_kwargs: Any) -> None:
        cls.secret_policies = MappingProxyType(
            {name: _declared_policy(cls.__name__, name, field) for name, field in cls.model_fields.items()}
        )
        for name, policy in cls.secret_policies.items():
            setattr(cls, name, LiveField(name, policy.name))
        _require_distinct(cls.__name__, cls.secret_policies.values())
        setattr(cls, "_variables_read", variables_read(cls.secret_policies.values()))  # noqa: B010 - as above
        _refuse_attributes(cls)
        for base in cls.__mro__[1:]:
            inherited = getattr(base, "secret_policies", {})
            if any(cls.secret_policies.get(name) != policy for name, policy in inherited.items()):
                raise TypeError(f"{cls.__name__} must keep every secret that it inherits, with its policy")

    def refresh(self) -> Report:
        """Read the secrets directory and the revocation list now, and use the secrets that pass (section 3).

        Call it from the host's own scheduler where the host runs no threads. Otherwise set `refresh`, and a thread
        does it. Without a secrets directory, nothing changes.

        Returns:
            The report on what was read; without a secrets directory, that of the start. Its `ok` is true when there is
            no alert.

        Raises:
            robodj_secretguard.errors.CheckFailedError: a check itself failed. The secrets in use stay.
        """
        reader = store_of(self).reader
        return running_report(self) if reader is None else reader.read()

    def state(self) -> "RunningState":
        """Return whether the secrets follow what is delivered, for a health endpoint (section 6). It reads nothing.

        Returns:
            The state: its name, when it began, and its alerts.
        """
        from robodj_secretguard.running.state import state_of  # noqa: PLC0415 - few starts need it

        return state_of(store_of(self))

    def at_once(self) -> "AbstractContextManager[Self]":
        """Give the secrets of one moment, such as a user and its password, for a `with` block (section 3).

        Inside of the block, no field changes. Afterwards, each one is live again. Keep the block short: a revocation
        that comes meanwhile counts after it.

        Returns:
            What gives the settings of that moment.

        Raises:
            robodj_secretguard.errors.RevokedKeyError: by a field, where it is read: its current key is revoked.
        """
        from robodj_secretguard.running.views import at_once  # noqa: PLC0415 - few starts need it

        return at_once(self, store_of(self))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        del value  # a traceback with locals would show it
        raise AttributeError(f"{type(self).__name__} is frozen")

    def model_copy(self, *, deep: bool = False, **changes: Any) -> Self:  # noqa: ARG002
        """Return the model itself, which is frozen. Refuse an `update`, which would not be checked."""
        if any(changes.values()):
            changes.clear()
            raise TypeError(f"{type(self).__name__} is not changed without its checks")
        return self

    @classmethod
    def model_construct(cls, *values: Any, **more: Any) -> NoReturn:  # type: ignore[override]
        """Raise `TypeError`: only the checks make an instance, from the values that they read."""
        del values, more  # a traceback with locals would show them
        _refuse_values(cls)


SecretSettings.model_config["defer_build"] = False  # for this class only: it has no field and no instance
for _entrance in (
    "model_validate",
    "model_validate_json",
    "model_validate_strings",
    # pydantic's old names
    "construct",
    "parse_obj",
    "parse_raw",
    "parse_file",
    "from_orm",
    "validate",
):
    setattr(SecretSettings, _entrance, SecretSettings.__dict__["model_construct"])
setattr(SecretSettings, "copy", SecretSettings.model_copy)  # noqa: B010 - an old name too


Model = TypeVar("Model", bound=SecretSettings)


def _fill(secrets: SecretSettings, given: Judgement | None) -> None:
    """Give an instance a store of its own with values that passed, or the common store of the values read now."""
    judgement = given or judgement_of(type(secrets), Environment())
    report = judgement.report()
    # One verdict: the report of `guard()` and of the gate refuses here too, and pydantic judges nothing again.
    # So the validators of a host run only on values that passed every check.
    # Each start refuses an expired and a revoked key before. A refresh may go on with one.
    alerts = [each for each in report.alerts if not given or each.check not in {Check.EXPIRED, Check.REVOKED}]
    if alerts:
        if not given:
            join(type(secrets), judgement)
        from robodj_secretguard.startup.validation import refusal  # noqa: PLC0415 - no start that passes needs it

        raise refusal(secrets, alerts)
    store = KeyStore(KeySet(judgement.readings, report, judgement.readings[0].setup.revocation))
    object.__setattr__(secrets, "_store", store)
    values = {field: store.field(policy.name) for field, policy in secrets.secret_policies.items()}
    try:
        # Use one separate source: those of pydantic-settings copy the whole environment, unsealed.
        super(SecretSettings, secrets).__init__(_build_sources=((lambda: values,), {}))  # type: ignore[call-arg]
    except ValidationError as error:
        from robodj_secretguard.startup.validation import without_inputs  # noqa: PLC0415 - as above

        raise without_inputs(secrets, error) from None
    if not given:  # otherwise `guard()` does that, after the host's `__init__`
        require_values(secrets)
        join(type(secrets), judgement, secrets)


def join(model: type[SecretSettings], judgement: Judgement, secrets: SecretSettings | None = None) -> KeyStore | None:
    """Let an instance use the one store of its model and source, which follows what was read.

    Args:
        model: the settings model.
        judgement: what was read.
        secrets: the new instance; `None` where the start is refused.

    Returns:
        The store; `None` where there is none.
    """
    own = None if secrets is None else store_of(secrets)
    source = judgement.source
    if judgement.again is not None and own is not None:
        from robodj_secretguard.running.refresh import Refresh  # noqa: PLC0415 - few services have a directory

        own.reader = Refresh(own, judgement.again, judgement.seconds, candidate_of(model))
    elif source is None or registered(model, source) is None:  # there is no directory that this process follows
        source = tuple([each.value for each in judgement.readings])
    store = contain(lambda: registered(model, source, own))  # it compares values
    if store is None or store is own:
        return store
    from robodj_secretguard.running.views import follow_another_read  # noqa: PLC0415 - few processes have one

    contain(lambda: follow_another_read(store, judgement, candidate_of(model), secrets))
    return store


def candidate_of(model: type[Model]) -> Callable[[Judgement], Model]:
    """Return what lets the validators of a host judge a set that would be used."""
    return lambda judgement: require_values(model(_judgement=judgement))  # type: ignore[call-arg]


def _refuse_values(model: type[SecretSettings]) -> NoReturn:
    raise TypeError(f"{model.__name__} takes no values: it reads the environment and the fallback files")


def judgement_of(
    model: type[SecretSettings],
    environment: Environment,
    *,
    now: datetime | None = None,
    config_dir: StrPath | None = None,
    require_env_only: bool = False,
    managers: "Sequence[ManagedSource]" = (),
    is_elsewhere: bool = False,
) -> Judgement:
    """Read and judge every secret that a model declares. Without `managers`, ask its secrets directory first.

    `is_elsewhere`: this may be another machine than the service's.
    """
    setup = setup_of(model)
    policies = tuple(model.secret_policies.values())

    def read_from(
        managers: "Sequence[ManagedSource]", learn: "Callable[[RevocationStatus], RevocationStatus] | None" = None
    ) -> tuple[Reading, ...]:
        return read(
            policies,
            vars(model)["_variables_read"],
            environment=environment,
            model_setup=setup,
            config_dir=config_dir,
            require_env_only=require_env_only,
            managers=managers,
            learn=learn,
            now=now or datetime.now(UTC),
        )

    if managers or not has_directory(environment, setup):
        return Judgement(read_from(managers))
    from robodj_secretguard.startup.directory import open_directory  # noqa: PLC0415 - few services have one

    named, _ = config_directory(environment, config_dir, setup)
    if os.path.isdir(named):  # for the reads that follow: the working directory may change
        config_dir = config_dir if os.path.isabs(named) else os.path.abspath(named)
    judgement = open_directory(environment, setup, policies, read_from, is_elsewhere=is_elsewhere)
    now = None  # for the reads that follow
    return judgement


def store_of(secrets: Any) -> KeyStore:
    """Return the store of an instance. Type checkers do not know its slot."""
    return secrets._store  # type: ignore[no-any-return]  # noqa: SLF001 - of this module


def running_report(secrets: SecretSettings) -> Report:
    """Return the report on the keys in use, of the time when they were read."""
    from robodj_secretguard.running.views import report_on  # noqa: PLC0415 - few starts need it

    return contain(lambda: report_on(store_of(secrets).keys))


def setup_of(model: type[SecretSettings]) -> ModelSetup:
    """Return the set-up that a model declares."""
    return vars(model)["_setup"]  # type: ignore[no-any-return]  # private: a host's field may have any public name


def declares_secrets(model: object) -> TypeIs[type[SecretSettings]]:
    """Check whether `model` is a settings model that declares a secret: `SecretSettings` itself declares none."""
    return isinstance(model, type) and issubclass(model, SecretSettings) and bool(model.secret_policies)


def require_values(secrets: Model) -> Model:
    """Return the model if it has exactly the secrets of its store: a validator of the host may have replaced one.

    Raises:
        CheckFailedError: the model has another value or another attribute.
    """
    store = store_of(secrets)
    for field, policy in secrets.secret_policies.items():
        if vars(secrets).get(field) is not store.field(policy.name):
            raise CheckFailedError(f"a validator replaced the value of {policy.name}")
    if vars(secrets).keys() != secrets.secret_policies.keys():  # vars() would show what a hook added
        raise CheckFailedError("an attribute was added to the settings")
    return secrets


def _declared_policy(model: str, name: str, field: FieldInfo) -> SecretPolicy:
    policies = [entry for entry in field.metadata if isinstance(entry, SecretPolicy)]
    plain = field.is_required() and field.alias is None and field.validation_alias is None
    is_required = field.annotation in (Secret, SecretStr)
    if len(policies) != 1 or not (is_required or field.annotation in (Secret | None, SecretStr | None)) or not plain:
        raise TypeError(
            f"{model}.{name} must be declared as Annotated[Secret, SecretPolicy(...)], without a default or an"
            " alias, with both names imported at run time; other settings belong in another model"
        )
    if policies[0].required is not is_required:
        raise TypeError(f"{model}.{name}: an optional secret has the type Secret | None and required=False")
    return policies[0].of_field(name)


def _declared_setup(
    model: type[SecretSettings],
    paths: Mapping[str, StrPath | None],
    switches: Mapping[str, bool | None],
    refresh: timedelta | None,
) -> ModelSetup:
    """Return the set-up of a model: its arguments, and the set-up of the models from which it inherits."""
    bases = [setup_of(base) for base in model.__mro__[1:] if issubclass(base, SecretSettings)]
    if not all(switch is None or isinstance(switch, bool) for switch in switches.values()):
        raise TypeError(f"{model.__name__}: {' and '.join(switches)} are true or false")
    directories = {name: _absolute(model, name, path, bases) for name, path in paths.items()}
    inherited, own = [base.refresh for base in bases if base.refresh], _period_of(model, refresh)
    files_are_on = all(base.file_fallback for base in bases)
    list_is_required = any(base.require_revocation_list for base in bases)
    file_fallback, require_revocation_list = switches.values()
    for name, is_looser in (
        *[(name, len(each) > 1) for name, each in directories.items()],
        ("refresh", bool(own and inherited) and min(own) > min(inherited)),
        ("file_fallback", file_fallback and not files_are_on),
        ("require_revocation_list", require_revocation_list is False and list_is_required),
    ):
        if is_looser:
            raise TypeError(f"{model.__name__} can only tighten the set-up that it inherits: its {name} conflicts")
    return ModelSetup(
        config_dir=next(iter(directories["config_dir"]), None),
        file_fallback=files_are_on if file_fallback is None else file_fallback,
        require_revocation_list=list_is_required or bool(require_revocation_list),
        secrets_dir=next(iter(directories["secrets_dir"]), None),
        refresh=min(own + inherited, default=None),
        model=f"{model.__module__}:{model.__qualname__}",
    )


def _absolute(model: type[SecretSettings], name: str, path: StrPath | None, bases: Iterable[ModelSetup]) -> set[str]:
    """Return the directory of a model, and those that it inherits."""
    inherited: set[str] = {getattr(base, name) for base in bases} - {None}
    if path is None:
        return inherited
    if not isinstance(path, (str, os.PathLike)) or not os.path.isabs(path):
        raise TypeError(f"{model.__name__}: {name} must be an absolute path, such as Path('/etc/robodj')")
    return {*inherited, os.path.normpath(os.fsdecode(path))}


def _period_of(model: type[SecretSettings], refresh: timedelta | None) -> list[int]:
    if refresh is None:
        return []
    second = timedelta(seconds=1)
    if not isinstance(refresh, timedelta) or refresh % second or not second <= refresh <= MOST_REFRESH_SECONDS * second:
        raise TypeError(f"{model.__name__}: refresh is a timedelta of whole seconds, from 1 to {MOST_REFRESH_SECONDS}")
    return [refresh // second]


def _refuse_attributes(model: Any) -> None:
    """Refuse private attributes, and everything that could show a key in a repr, a dump or `vars()`."""
    if model.__private_attributes__:
        raise TypeError(
            f"{model.__name__} must declare only secrets: a name that begins with an underscore is not a field"
        )
    declared = model.__pydantic_decorators__
    own = [base for base in model.__mro__ if base not in SecretSettings.__mro__]
    if (
        declared.computed_fields
        or declared.field_serializers
        or declared.model_serializers
        or model.model_config.get("json_encoders")
        or any(
            hasattr(each, _SCHEMA) and type(each).__module__ != "pydantic.functional_validators"
            for each in chain.from_iterable(field.metadata for field in model.model_fields.values())
        )
        or any(_SCHEMA in vars(base) for base in own)
        or any(isinstance(each, cached_property) for base in own for each in vars(base).values())
    ):
        raise TypeError(
            f"{model.__name__} has a computed field, a cached property or a serializer, which could show a key:"
            " use a function of the service instead"
        )


def _require_distinct(model: str, declared: Collection[SecretPolicy]) -> None:
    if not declared:
        raise TypeError(f"{model} declares no secret")
    variables = [*SETTINGS, *[variable for policy in declared for variable in policy.variables]]
    for what, names in (
        ("a name", [policy.name for policy in declared]),
        ("a variable", variables),
        ("a file", [policy.file.casefold() for policy in declared] + [REVOKED_FILE, OPERATIONS_FILE]),
    ):
        if len(set(names)) < len(names):
            raise TypeError(f"{model} declares two secrets that share {what}, or one that this library uses")
    pairs = {(policy.name, policy.shared_with) for policy in declared if policy.shared_with}
    if not all((other, name) in pairs and name != other for name, other in pairs):
        raise TypeError(f"{model}: a secret and the one in its shared_with must name each other")


class RuntimeSecrets(SecretSettings):
    """The two runtime secrets of the policy (policy sections 1 to 3): the default of `guard()` and of the commands.

    Attributes:
        secret_key: `ROBODJ_SECRET_KEY`, 32 bytes, replaced every 90 days.
        secret_v2_key: `ROBODJ_SECRET_V2_KEY`, 64 bytes, replaced every 30 days.
    """

    secret_key: Annotated[
        Secret,
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
    ]
    secret_v2_key: Annotated[
        Secret,
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
    ]


RuntimeSecrets.__module__ = "robodj_secretguard"  # as users import it: start events have this name
