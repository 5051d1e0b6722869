"""Pin the public types. `mypy --strict` reads this module; it is never run."""

from typing import Annotated, Any, assert_type

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


assert_type(guard(), RuntimeSecrets)
assert_type(Material.opaque(minimum=8), Kind)
assert_type(guard(exit_status=78, require_env_only=True).secret_key, SecretStr)
assert_type(guard(RuntimeSecrets, config_dir="config"), Declared)
assert_type(check().alerts, tuple[Finding, ...])
assert_type(check().as_dict(), dict[str, Any])
assert_type(RuntimeSecrets().secret_v2_key, SecretStr)
