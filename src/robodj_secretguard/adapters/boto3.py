"""boto3: the credentials are two or three secrets that change together."""

from __future__ import annotations

from typing import Any

from botocore.credentials import Credentials
from botocore.session import Session

from robodj_secretguard.adapters.live import MaskedStr, masked
from robodj_secretguard.running.keyset import KeySet
from robodj_secretguard.running.login import require_group
from robodj_secretguard.running.store import Secret
from robodj_secretguard.secret.sealed import contain


def botocore_session(key_id: Secret, secret_key: Secret, token: Secret | None = None) -> Session:
    """Return a botocore session whose clients sign each request with the credentials in use (policy section 3).

    `aws = boto3.Session(botocore_session=botocore_session(secrets.aws_key_id, secrets.aws_secret_key))`

    Each request reads all of them at one moment, so they are of one delivery. Let the agent replace their files at once
    (docs/refresh.md). boto3 looks for no others. A request without one of them raises a `LookupError`. The DEBUG log of
    botocore shows the session token: use the redactor (docs/logs.md).

    Args:
        key_id: the access key id.
        secret_key: the secret access key.
        token: the session token of temporary credentials.

    Raises:
        ValueError: the secrets are not of one `group` of one model, so they may change one after the other.
        TypeError: one of them is not a `Secret`.
    """
    secrets = [key_id, secret_key] if token is None else [key_id, secret_key, token]
    del key_id, secret_key, token  # one may be text
    require_group(secrets)
    session = Session()
    session.register_component("credential_provider", _LiveCredentials(secrets))
    return session


class _LiveCredentials(Credentials):  # type: ignore[misc]  # botocore has no types
    """The credentials in use. A session gets them from this object, too, in place of a chain of providers."""

    method = "robodj-secretguard"
    account_id = None

    def __init__(self, secrets: list[Secret]) -> None:
        self._secrets = secrets

    def load_credentials(self) -> Credentials:
        """Return this object, as a botocore session asks for it."""
        return self

    def get_frozen_credentials(self) -> Any:
        """Return all of them, of one moment."""
        keys = self._secrets[0].store.keys
        values = [_value(keys, each) for each in self._secrets]
        return Credentials(*values).get_frozen_credentials()

    @property
    def access_key(self) -> Any:
        return self.get_frozen_credentials().access_key

    @property
    def secret_key(self) -> Any:
        return self.get_frozen_credentials().secret_key

    @property
    def token(self) -> Any:
        return self.get_frozen_credentials().token


def _value(keys: KeySet, secret: Secret) -> MaskedStr:
    """Return the current value of a secret, whose repr is masked."""
    held = keys.held(secret.name)
    if not held or held[0].is_revoked:
        raise LookupError(f"{secret.name} has no value now")
    return contain(lambda: masked(held[0].key))
