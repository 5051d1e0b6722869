"""Read a JSON secret of AWS Secrets Manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import boto3
from botocore import exceptions
from botocore.config import Config

from robodj_secretguard.managers.json_object import members
from robodj_secretguard.managers.manager import Failure, Manager
from robodj_secretguard.managers.network import failure_of, is_insecure

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

STAGE: Final = "AWSCURRENT"
_TEMPORARY_CODES: Final = frozenset(
    (
        *("InternalServiceError", "InternalServiceErrorException", "InternalFailure", "ServiceUnavailable"),
        *("ServiceUnavailableException", "ThrottlingException", "Throttling", "TooManyRequestsException"),
        *("RequestTimeout", "RequestTimeoutException", "SlowDown", "RequestLimitExceeded", "500", "502", "503", "504"),
    )
)
_IN_JSON: Final = "store the keys as one JSON object, whose members are the names of the variables"
_REACH: Final = "make sure that AWS can be reached from here, then start again"
_LOGIN: Final = "give this service valid AWS credentials (aws sts get-caller-identity shows them)"
_CERTIFICATE: Final = "set AWS_CA_BUNDLE to the file of the right CA"
_FIXES: Final = {
    "ResourceNotFoundException": "correct the secret's name, and AWS_REGION; a name never has a version",
    "AccessDeniedException": "allow secretsmanager:GetSecretValue for the secret, and kms:Decrypt for its key",
    "InvalidRequestException": "if the secret is marked for deletion: restore it (aws secretsmanager restore-secret)",
    "DecryptionFailure": "allow kms:Decrypt for the key of the secret",
}


_FAILURES: Final = (
    (
        (exceptions.NoRegionError, exceptions.InvalidRegionError),
        Failure("cannot be read: no valid AWS region is set", "set AWS_REGION to the region of the secret"),
    ),
    (
        (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.CredentialRetrievalError),
        Failure("cannot be reached ({})", _REACH, is_temporary=True),
    ),
    (exceptions.MetadataRetrievalError, Failure("cannot be reached ({})", _REACH, is_temporary=True)),
    (Exception, Failure("cannot be read ({})", _LOGIN)),  # no credentials, or an invalid setting
)


class AwsSecret(Manager):
    """One secret of AWS Secrets Manager, whose text is a JSON object.

    Args:
        name: the source in messages.
        secret: the name or ARN of the secret.
    """

    def __init__(self, name: str, secret: str) -> None:
        super().__init__(name)
        self._secret = secret

    def fetch(self, names: Collection[str], seconds: float) -> Mapping[str, object] | Failure:  # noqa: ARG002
        """Return the members of the current version."""
        limits = Config(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 1})
        try:
            client = boto3.client("secretsmanager", config=limits)
            if is_insecure(client.meta.endpoint_url):
                return Failure("is not read without TLS", "begin the address in AWS_ENDPOINT_URL with https://")
            # Without a stage, some servers return the version that was current before.
            text = client.get_secret_value(SecretId=self._secret, VersionStage=STAGE).get("SecretString")
        except exceptions.ClientError as error:
            return _refused(str(error.response.get("Error", {}).get("Code", "")))
        except (exceptions.BotoCoreError, ValueError) as error:
            return failure_of(error, _FAILURES, _CERTIFICATE)
        return Failure("has no text", _IN_JSON) if text is None else members(text, _IN_JSON)


def _refused(code: str) -> Failure:
    if code in _TEMPORARY_CODES:
        return Failure(f"is not available ({code})", _REACH, is_temporary=True)
    shown = f" ({code})" if code.isascii() and code.isidentifier() else ""
    return Failure(f"was refused by AWS{shown}", _FIXES.get(code, _LOGIN))
