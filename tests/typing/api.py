"""Pin the public types. `mypy --strict` reads this module; it is never run."""

from typing import Annotated, Any, Literal, assert_type

from pydantic import SecretStr

from robodj_secretguard import (
    Finding,
    Kind,
    Material,
    Report,
    RuntimeSecrets,
    SecretPolicy,
    SecretSettings,
    check,
    guard,
)
from robodj_secretguard.startup.settings import RuntimeSecrets as Declared


def takes_a_policy(policy: SecretPolicy) -> None:
    """The guard returns an instance of the service's model."""

    class Own(SecretSettings):
        own_key: Annotated[SecretStr, policy]

    assert_type(guard(Own), Own)
    assert_type(guard(Own).own_key, SecretStr)
    assert_type(check(Own), Report)


class Named(SecretSettings[Literal["a.key", "b.key"]]):
    """The names in the brackets are those that `keyring` takes. Functions take such a model as any other."""

    a_key: Annotated[SecretStr, SecretPolicy(name="a.key", variable="A_KEY")]
    b_key: Annotated[SecretStr, SecretPolicy(name="b.key", variable="B_KEY")]


def takes_any(secrets: SecretSettings) -> None:
    """Take any model."""
    secrets.keyring("a.key")


takes_any(guard(Named))
guard(Named).keyring("a.key")
guard(Named).keyring("c.key")  # type: ignore[arg-type]
guard().keyring("secret.key")
guard().keyring("a.key")  # type: ignore[arg-type]
Named()._judgement  # type: ignore[attr-defined]  # noqa: B018, SLF001
assert_type(guard(), RuntimeSecrets[Literal["secret.key", "secret_v2.key"]])
assert_type(Material.opaque(minimum=8), Kind)
assert_type(guard(exit_status=78, require_env_only=True).secret_key, SecretStr)
assert_type(guard(RuntimeSecrets, config_dir="config"), Declared)
assert_type(check().alerts, tuple[Finding, ...])
assert_type(check().as_dict(), dict[str, Any])
assert_type(RuntimeSecrets().secret_v2_key, SecretStr)
