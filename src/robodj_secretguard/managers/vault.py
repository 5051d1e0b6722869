"""Read a secret of the KV engine, version 2, of HashiCorp Vault or OpenBao."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import hvac
import requests
from hvac import exceptions
from hvac.adapters import JSONAdapter, RawAdapter

from robodj_secretguard.errors import ManagerError, UnreadError
from robodj_secretguard.managers.manager import (
    ATTEMPT_SECONDS,
    CONFLICT,
    AbsentError,
    Answer,
    ClientStore,
    Stored,
    is_insecure,
    limited,
    manager_error,
    number_of,
    sealed,
    time_of,
)
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.file_reader import read_text_file
from robodj_secretguard.startup.inputs import parse_marker

_ADDRESS: Final = "set VAULT_ADDR to the address of the server, like https://vault.example:8200"
_REACH_SERVER: Final = "make sure that the server of VAULT_ADDR is running and can be reached, then start again"
_PATH: Final = (
    "correct MOUNT/PATH after vault: (a KV engine, version 2); only a new service stores its first keys there"
)
_USE_V2: Final = "copy its fields to a secret of a KV engine, version 2, and use the MOUNT/PATH of that secret"
_CA_CERT: Final = "set VAULT_CACERT to the CA file of the server, and VAULT_ADDR to a name in its certificate"
_TOKEN_LOGINS: Final = {
    "KUBERNETES_ROLE": (
        "kubernetes",
        "KUBERNETES_TOKEN_FILE",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
    ),
    "JWT_ROLE": ("jwt", "JWT_FILE", ""),
}
"""By the setting of a role: the usual mount of its login, and the setting and the usual path of the token's file."""
_NEW_LOGINS: Final = {
    "TOKEN_FILE": "write a new token into the file of VAULT_TOKEN_FILE",
    "ROLE_ID": "set VAULT_ROLE_ID to the id of the role, and VAULT_SECRET_ID_FILE to a file with a new secret id",
    "KUBERNETES_ROLE": "set VAULT_KUBERNETES_ROLE to a role that is bound to this service account",
    "JWT_ROLE": "write a new token into the file of VAULT_JWT_FILE, and set VAULT_JWT_ROLE to a role that accepts it",
    "TOKEN": "set VAULT_TOKEN to a new token",
}
"""By a setting of each login method, in the order of `_log_in`: what to do after a refusal."""

_CLIENT_ERRORS: Final = (
    (
        (exceptions.VaultDown, exceptions.VaultNotInitialized),
        "is sealed or not available (HTTP 503)",
        "unseal the server, then start again",
        True,
    ),
    (exceptions.InvalidRequest, "was not read: the server does not accept the request (HTTP 400)", _ADDRESS, False),
    (
        exceptions.UnsupportedOperation,
        "was not read: the server redirects to another address",
        "set VAULT_ADDR to the address of the active server, or of the load balancer",
        False,
    ),
    (exceptions.ParamValidationError, "did not come from a server of Vault or OpenBao", _ADDRESS, False),
    (exceptions.VaultError, "is not available ({})", _REACH_SERVER, True),
    (
        (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema),
        "cannot be read: VAULT_ADDR is malformed",
        _ADDRESS,
        False,
    ),
    (
        (requests.exceptions.InvalidHeader, UnicodeError),
        "cannot be read: the token or VAULT_NAMESPACE has an invalid character",
        "write the token again as one line of ASCII, and correct VAULT_NAMESPACE if it is set",
        False,
    ),
    (requests.exceptions.RequestException, "cannot be reached ({})", _REACH_SERVER, True),
    (OSError, "cannot be read: the file of VAULT_CACERT is not usable", _CA_CERT, False),
    (UnreadError, "sent a part of an answer", _REACH_SERVER, True),
)


def _read_answer(response: requests.Response, *_: object, **__: object) -> None:
    with response:
        parts = response.iter_content(1 << 16)
        response._content = limited(parts, exceptions.ParamValidationError())  # noqa: SLF001 - as requests sets it


class _Adapter(JSONAdapter):  # type: ignore[misc] # hvac has no types
    """Add the time of an answer, and refuse one that is not a JSON object: JSONAdapter returns the response itself."""

    def request(self, *arguments: Any, **more: Any) -> Any:
        answer = RawAdapter.request(self, *arguments, **more)
        if answer.is_redirect:
            raise exceptions.UnsupportedOperation
        if "json" not in answer.headers.get("Content-Type", "json"):
            raise exceptions.ParamValidationError
        with suppress(ValueError):  # it was cut
            if isinstance(found := answer.json(parse_float=number_of), dict):
                return found | {"date": answer.headers.get("Date")}
        raise UnreadError


class Vault(ClientStore):
    """The fields of one secret. Its settings are variables of the client: `VAULT_ADDR`, or `BAO_ADDR`, and so on."""

    reach = _REACH_SERVER
    logins = frozenset(
        f"{program}_{name}"
        for program in ("VAULT", "BAO")
        for name in (
            "TOKEN",
            "TOKEN_FILE",
            "ROLE_ID",
            "SECRET_ID",
            "SECRET_ID_FILE",
            "KUBERNETES_ROLE",
            "KUBERNETES_TOKEN_FILE",
            "JWT_ROLE",
            "JWT_FILE",
            "AUTH_MOUNT",
        )
    )

    def with_client(self, action: Callable[[Any], Answer]) -> Answer:
        """Log in, and return what an action returns."""
        address = _client_setting("ADDR")
        if not address:
            raise ManagerError("cannot be read: VAULT_ADDR is not set", _ADDRESS)
        if is_insecure(address):
            raise ManagerError("is not read without TLS: VAULT_ADDR is not an address with https://", _ADDRESS)
        session = requests.Session()
        session.verify = _client_setting("CACERT") or True
        session.hooks["response"].append(_read_answer)
        session.trust_env = address.lower().startswith("https://")  # a proxy would get requests without TLS
        # A redirect could lead to another server, which would get the token.
        settings = {"namespace": _client_setting("NAMESPACE") or None, "allow_redirects": False}
        limits = min(self.seconds, ATTEMPT_SECONDS), self.seconds  # of the connection, and of the answer
        try:
            client = hvac.Client(address, token="", adapter=_Adapter, session=session, timeout=limits, **settings)
            _log_in(client)
            return action(client)
        except (exceptions.VaultError, OSError, UnreadError, UnicodeError) as error:  # OSError: also those of requests
            raise manager_error(error, _CLIENT_ERRORS, _CA_CERT) from None
        finally:
            session.close()

    def names(self, client: hvac.Client) -> Sequence[str]:
        """Return the versions that are neither deleted nor destroyed."""
        mount, _, path = self._place.partition("/")
        try:
            found = client.secrets.kv.v2.read_secret_metadata(path, mount_point=mount)["data"]["versions"]
        except (exceptions.Forbidden, exceptions.Unauthorized) as error:
            raise self._denial(error, "read", "read", "metadata") from None
        except exceptions.InvalidPath:
            return ()
        kept = [int(name) for name, each in found.items() if not (each["destroyed"] or _is_deleted(each))]
        return [str(number) for number in sorted(kept, reverse=True)]

    def read(self, client: hvac.Client, name: str = "") -> Stored:
        """Return a version."""
        mount, _, path = self._place.partition("/")
        try:
            answer: Any = client.secrets.kv.v2.read_secret_version(
                path, version=int(name or 0) or None, mount_point=mount, raise_on_deleted_version=True
            )
            fields = answer["data"]["data"]
            metadata = answer["data"]["metadata"]
            version = str(metadata["version"])
            written_at = parse_marker(SealedStr(metadata["created_time"]))
            return Stored(sealed({**fields}), version, written_at, time_of(answer["date"]))
        except (exceptions.Forbidden, exceptions.Unauthorized) as error:
            failure = self._denial(error, "read", "read")
        except exceptions.InvalidPath as error:
            failure = _absence(error.json, mount, path)
        except (KeyError, TypeError):
            failure = ManagerError("is not a secret of a KV engine, version 2", _PATH)
        raise ManagerError("is a KV v1 secret; use v2", _USE_V2) if _is_v1(client, mount) else failure

    def write_after(self, client: hvac.Client, fields: SealedStr, version: str) -> None:
        """Write a new version."""
        (mount, _, path), new = self._place.partition("/"), Stored(fields, version).opened()
        try:
            client.secrets.kv.v2.create_or_update_secret(path, new, cas=int(version or 0), mount_point=mount)
        except exceptions.InvalidRequest as error:
            if any("did not match" in str(reason) for reason in error.errors or ()):
                raise ManagerError(*CONFLICT) from None
            raise
        except (exceptions.Forbidden, exceptions.Unauthorized) as error:
            raise self._denial(error, "written", "update") from None

    def _denial(self, error: exceptions.VaultError, done: str, capability: str, part: str = "data") -> ManagerError:
        """Return the error where the token or the policy is at fault."""
        # The error of a policy begins with the number of errors.
        if not any("occurred" in str(why) and "invalid token" not in str(why) for why in error.errors or ()):
            return ManagerError(f"was not {done}: the token is invalid or has expired", _new_login())
        mount, _, path = self._place.partition("/")
        remedy = f'allow "{capability}" for the path "{mount}/{part}/{path}"'
        return ManagerError(f"was not {done}: the policy of this login does not allow it", remedy)


def _is_deleted(version: Mapping[str, Any]) -> bool:
    """Check whether a version is deleted. A version that is to be deleted later has the instant already."""
    deleted_at = parse_marker(SealedStr(version["deletion_time"]))
    return bool(version["deletion_time"]) and (deleted_at is None or deleted_at <= datetime.now(UTC))


def _absence(answer: Any, mount: str, path: str) -> ManagerError:
    """Return the error where a secret, or only its current version, is missing."""
    try:
        metadata = answer["data"]["metadata"]
        version = int(metadata["version"])
        is_destroyed = metadata.get("destroyed")
    except (TypeError, KeyError, ValueError):
        return AbsentError("does not exist", _PATH)
    remedy = f"run vault (OpenBao: bao) kv undelete -mount={mount} -versions={version} {path}"
    if is_destroyed:
        remedy = "write the keys of its last good version again, as a new version"
    return ManagerError(f"has no current version: version {version} is deleted", remedy)


def _is_v1(client: hvac.Client, mount: str) -> bool:
    """Check whether a mount is a KV engine of version 1. Every login that may read in a mount may ask that."""
    try:
        found = client.read(f"sys/internal/ui/mounts/{mount}")["data"]
        return found["type"] == "kv" and (found["options"] or {}).get("version") != "2"
    except (exceptions.VaultError, KeyError, TypeError):
        return False


def _client_setting(name: str) -> str:
    return os.environ.get(f"VAULT_{name}") or os.environ.get(f"BAO_{name}") or ""


def _line_of(path: str) -> str:
    """Return the line of a file; empty where it cannot be read or has several."""
    lines = read_text_file(os.path.expanduser(path), most=1 << 16).lines
    return lines[0].get_secret_value() if len(lines) == 1 else ""


def _log_in(client: hvac.Client) -> None:
    """Give the client a token: the one that is set, or that of a login."""
    mount = _client_setting("AUTH_MOUNT")
    method = next(filter(_client_setting, _TOKEN_LOGINS), "")
    try:
        if token_file := _client_setting("TOKEN_FILE"):
            client.token = _line_of(token_file)
        elif role := _client_setting("ROLE_ID"):
            secret = _line_of(_client_setting("SECRET_ID_FILE")) or _client_setting("SECRET_ID")
            client.auth.approle.login(role, secret, mount_point=mount or "approle")
        elif method:
            usual_mount, variable, usual = _TOKEN_LOGINS[method]
            if not (token := _line_of(_client_setting(variable) or usual)):
                raise ManagerError(
                    "was not read: there is no file with the token of this service",
                    f"set VAULT_{variable} to the file with the token of this service, as one line",
                )
            client.auth.jwt.jwt_login(_client_setting(method), token, path=mount or usual_mount)
        else:
            client.token = _client_setting("TOKEN") or _line_of("~/.vault-token")
    except (exceptions.InvalidRequest, exceptions.Forbidden, exceptions.Unauthorized, exceptions.InvalidPath):
        raise ManagerError("was not read: the server refused the login", _new_login()) from None
    if not client.token:
        raise ManagerError("was not read: there is no token", _new_login())


def _new_login() -> str:
    """Return how to log in with the method that is set."""
    any_method = "set VAULT_TOKEN_FILE, or VAULT_ROLE_ID and VAULT_SECRET_ID_FILE, or VAULT_KUBERNETES_ROLE"
    return next((remedy for name, remedy in _NEW_LOGINS.items() if _client_setting(name)), any_method)
