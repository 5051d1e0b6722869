"""The ways in which the trial's secrets break, as they really happen, and random values for them."""

from __future__ import annotations

import base64
import json
import secrets
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from conftest import V1, V2, good_keys
from issued_servers import new_rsa, pem_of
from issued_values import FILES, OPTIONAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DATABASE, CACHE, MAIL, SIGNING, PAYMENTS, STORAGE = [name for name in FILES if name.startswith("ORDERS_")][:6]


def letters(length: int) -> str:
    """Make a random name, of letters that few words have."""
    return "".join(secrets.choice("bhjkqvwxyz") for _ in range(length))


def characters(length: int) -> str:
    """Make a random password that needs no quoting, and begins with letters of both cases."""
    return "qX" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length - 2))


@dataclass(frozen=True)
class Made:
    """Random values of the same lengths each time, and their parts.

    Attributes:
        user: the user in each URL.
        host: the host in each URL.
        name: the database, and the account in the credentials.
        password: the password in each URL, and the rest of each vendor's key.
        pems: two private keys.
    """

    user: str = field(default_factory=lambda: letters(8))
    host: str = field(default_factory=lambda: f"{letters(7)}.{letters(7)}")
    name: str = field(default_factory=lambda: letters(7))
    password: str = field(default_factory=lambda: characters(24), repr=False)
    pems: tuple[str, str] = field(default_factory=lambda: (same_length_pem(), same_length_pem()), repr=False)
    keys: Mapping[str, str] = field(default_factory=good_keys, repr=False)

    def values(self) -> dict[str, str]:
        """Return a right value for each variable."""
        account = {"client_email": f"{self.name}@{self.host}", "private_key": self.pems[1]}
        at = f"{self.user}:{self.password}@{self.host}"
        return {
            **self.keys,
            DATABASE: f"postgresql://{at}:5432/{self.name}",
            CACHE: f"redis://{at}:6379/0",
            MAIL: f"smtp://{self.user}%40{self.name}:{self.password}@{self.host}:587",
            SIGNING: self.pems[0],
            PAYMENTS: f"sk_live_{self.password}",
            STORAGE: json.dumps(account, indent=2),
            OPTIONAL: f"whsec_{self.password}",
        }

    def broken(self, variable: str, fault: str) -> dict[str, str]:
        """Return right values, one of which is broken."""
        return {**self.values(), variable: FAULTS[variable][fault](self, variable)}

    def names(self) -> list[str]:
        """Return the names that must not be shown either."""
        return [self.user, *self.host.split("."), self.name]

    def secret(self) -> list[str]:
        """Return the secret parts of all values."""
        bodies = ["".join(pem.splitlines()[1:-1]) for pem in self.pems]
        ends = [end for body in bodies for end in (body[:96], body[-96:])]  # searching the whole is slow
        return [self.password, *ends, *self.keys.values()]


def same_length_pem() -> str:
    """Make a private key whose PEM has the usual length."""
    while True:
        pem = pem_of(new_rsa())
        if len(pem) == 1704:
            return pem


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _own_name(_made: Made, variable: str) -> str:
    return variable


def _of_right(change: Callable[[str], str]) -> Callable[[Made, str], str]:
    return lambda made, variable: change(made.values()[variable])


def _constant(text: str) -> Callable[[Made, str], str]:
    return lambda _made, _variable: text


def _made(make: Callable[[Made], str]) -> Callable[[Made, str], str]:
    return lambda made, _variable: make(made)


OF_ALL: Final[dict[str, Callable[[Made, str], str]]] = {
    "quoted": _of_right('"{}"'.format),
    "single-quoted": _of_right("'{}'".format),
    "unresolved op": _constant("op://vault/orders/field"),
    "unresolved vault": _constant("vault:secret/data/orders#value"),
    "unresolved arn": _constant("arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders-AbCdEf"),
    "unresolved gcp": _constant("projects/123/secrets/orders/versions/latest"),
    "unresolved azure": _constant("@Microsoft.KeyVault(SecretUri=https://orders.vault.azure.net/secrets/x/)"),
    "path": lambda _made, variable: f"/run/secrets/{variable.lower()}",
    "own name": _own_name,
    "shell variable": lambda _made, variable: f"${variable}",
    "braces": lambda _made, variable: f"${{{variable}}}",
    "helm": lambda _made, variable: f"{{{{ .Values.{variable.lower()} }}}}",
    "changeme": _constant("changeme"),
    "bracketed": _constant("<your-value-here>"),
    "null": _constant("null"),
    "assignment": lambda made, variable: f"{variable}={made.values()[variable]}",
    "export": lambda made, variable: f"export {variable}={made.values()[variable]}",
    "base64 of it": _of_right(_base64),
    "first 6 characters": _of_right(lambda value: value[:6]),
    "masked": _of_right(lambda value: f"{value[:4]}****{value[-4:]}"),
    "stars": _constant("********"),
    "dict": _of_right(lambda value: json.dumps({"value": value})),
    "twice": _of_right(lambda value: f"{value}\n{value}"),
    "empty": _constant(""),
    "quotes alone": _constant('""'),
    "blank": _constant(" "),
}
_OF_LINES: Final = {
    "newline": _of_right("{}\n".format),
    "crlf": _of_right("{}\r\n".format),
    "blank before": _of_right(" {}".format),
}


def _url(scheme: str, change: str) -> Callable[[Made, str], str]:
    return _made(
        lambda made: (f"{scheme}://" + change).format(
            user=made.user, password=made.password, half=made.password[:9], host=made.host, name=made.name
        )
    )


def _of_url(scheme: str) -> dict[str, Callable[[Made, str], str]]:
    return _OF_LINES | {
        "encoded": _of_right(lambda value: quote(value, safe="")),
        "documentation": _constant(f"{scheme}://user:password@localhost:5432/dbname"),
        "documentation 2": _constant(f"{scheme}://username:password@hostname:5432/mydb"),
        "template": _url(scheme, "<user>:<password>@{host}/{name}"),
        "template password": _url(scheme, "{user}:YOUR_PASSWORD@{host}/{name}"),
        "shell password": _url(scheme, "{user}:${{DB_PASSWORD}}@{host}/{name}"),
        "changeme password": _url(scheme, "{user}:changeme123@{host}/{name}"),
        "user as password": _url(scheme, "{user}:{user}@{host}/{name}"),
        "masked password": _url(scheme, "{user}:***@{host}/{name}"),
        "hidden password": _url(scheme, "{user}:[HIDDEN]@{host}/{name}"),
        "empty password": _url(scheme, "{user}:@{host}/{name}"),
        "no password": _url(scheme, "{user}@{host}/{name}"),
        "no user and password": _url(scheme, "{host}/{name}"),
        "no host": _url(scheme, "{user}:{password}@/{name}"),
        "no scheme": _made(lambda made: f"{made.user}:{made.password}@{made.host}/{made.name}"),
        "host only": _made(lambda made: f"{made.host}:5432"),
        "password only": _made(lambda made: made.password),
        "other scheme": _url("mysql", "{user}:{password}@{host}/{name}"),
        "cut in the password": _url(scheme, "{user}:{half}"),
        "cut in the user": _url(scheme, "qbz"),
        "cut after @": _url(scheme, "{user}:{password}@"),
        "cut in the scheme": _constant(scheme),
        "hash in the password": _url(scheme, "{user}:{half}#{half}@{host}/{name}"),
        "slash in the password": _url(scheme, "{user}:{half}/{half}@{host}/{name}"),
        "question mark in the password": _url(scheme, "{user}:{half}?{half}@{host}/{name}"),
        "blank in the password": _url(scheme, "{user}:{half} {half}@{host}/{name}"),
        "reference as password": _url(scheme, "{user}:op://vault/item/field@{host}/{name}"),
    }


FAULTS: Final[dict[str, dict[str, Callable[[Made, str], str]]]] = {
    DATABASE: OF_ALL
    | _of_url("postgresql")
    | {
        "compose": _constant("postgresql://postgres:postgres@db:5432/postgres"),
        "SQLAlchemy's driver": _url("postgresql+psycopg", "{user}:{password}@{host}/{name}"),
        "keywords": _made(lambda made: f"host={made.host} user={made.user} password={made.password}"),
        "another cache's": _url("redis", "{user}:{password}@{host}/1"),
    },
    CACHE: OF_ALL | _of_url("redis") | {"local": _constant("redis://localhost:6379/0")},
    MAIL: OF_ALL | _of_url("smtp") | {"http": _url("http", "{user}:{password}@{host}:587")},
    SIGNING: {
        name: break_ for name, break_ in OF_ALL.items() if name != "base64 of it"
    }  # which is how it may be delivered
    | {
        "documentation": _constant("-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----"),
        "template": _constant("-----BEGIN PRIVATE KEY-----\nYOUR_PRIVATE_KEY\n-----END PRIVATE KEY-----"),
        "first line": _of_right(lambda value: value.splitlines()[0]),
        "no last line": _of_right(lambda value: value[: value.index("-----END")]),
        "cut in the body": _of_right(lambda value: value[:800]),
        "body only": _of_right(lambda value: "\n".join(value.splitlines()[1:-1])),
        "one character of the body is missing": _of_right(lambda value: value[:200] + value[201:]),
        "lines joined by blanks": _of_right(lambda value: value.replace("\n", " ")),
        "n instead of newlines": _of_right(lambda value: value.replace("\n", "n")),
        "doubly escaped": _of_right(lambda value: value.replace("\n", "\\\\n")),
        "quoted and escaped": _of_right(json.dumps),
        "certificate": _of_right(lambda value: value.replace("PRIVATE KEY", "CERTIFICATE")),
        "public key": _of_right(lambda value: value.replace("PRIVATE", "PUBLIC")),
        "labels differ": _of_right(lambda value: value.replace("BEGIN PRIVATE", "BEGIN RSA PRIVATE")),
        "four dashes": _of_right(lambda value: value.replace("-----", "----")),
        "empty body": _constant("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"),
        "request after it": _of_right(lambda value: value + value.replace("PRIVATE KEY", "CERTIFICATE REQUEST")),
        "ten lines are missing": _of_right(
            lambda value: "".join(value.splitlines(keepends=True)[:5] + value.splitlines(keepends=True)[15:])
        ),
        "its last line is cut": _of_right(lambda value: value.replace(value[-40:-26], "")),
        "masked body": _of_right(lambda value: value[:200] + "****" + value[210:]),
        "ssh public key": _made(lambda made: f"ssh-ed25519 {_base64(made.password)} {made.user}@{made.host}"),
    },
    PAYMENTS: OF_ALL
    | _OF_LINES
    | {
        "documentation": _constant("sk_live_..."),
        "documentation 2": _constant("sk_live_your_secret_key_here"),
        "crosses": _constant("sk_live_xxxxxxxxxxxxxxxxxxxxxxxx"),
        "prefix only": _constant("sk_live_"),
        "test environment's": _made(lambda made: f"sk_test_{made.password}"),
        "publishable": _made(lambda made: f"pk_live_{made.password}"),
        "without the prefix": _made(lambda made: made.password),
        "masked end": _made(lambda made: f"sk_live_{made.password[:6]}...{made.password[-4:]}"),
        "header": _made(lambda made: f"Bearer sk_live_{made.password}"),
        "tab": _made(lambda made: f"sk_live_{made.password}\t"),
        "zero-width": _made(lambda made: f"sk_live_\u200b{made.password}"),
        "capitals": _made(lambda made: f"SK_LIVE_{made.password}"),
    },
    STORAGE: OF_ALL
    | {
        "object without members": _constant("{}"),
        "list": _constant("[]"),
        "cut": _of_right(lambda value: value[:300]),
        "cut at the end": _of_right(lambda value: value[:-1]),
        "first line": _of_right(lambda value: value.splitlines()[0]),
        "member is empty": _of_right(lambda value: json.dumps({**json.loads(value), "private_key": ""})),
        "member is null": _of_right(lambda value: json.dumps({**json.loads(value), "private_key": None})),
        "member is a list": _of_right(lambda value: json.dumps({**json.loads(value), "private_key": ["x"]})),
        "member is missing": _of_right(lambda value: json.dumps({"private_key": json.loads(value)["private_key"]})),
        "member is misspelled": _of_right(lambda value: value.replace("private_key", "privateKey")),
        "member is a template": _of_right(
            lambda value: json.dumps({**json.loads(value), "private_key": "your-private-key"})
        ),
        "member is a reference": _of_right(
            lambda value: json.dumps({**json.loads(value), "private_key": "op://vault/item/key"})
        ),
        "member is the template of a PEM": _of_right(
            lambda value: json.dumps(
                {**json.loads(value), "private_key": "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n"}
            )
        ),
        "encoded twice": _of_right(json.dumps),
        "Python": _of_right(lambda value: repr(json.loads(value))),
        "comma at the end": _of_right(lambda value: value.replace("\n}", ",\n}")),
        "comment": _of_right(lambda value: f"// the account\n{value}"),
        "real newlines in a text": _of_right(lambda value: value.replace("\\n", "\n")),
        "the PEM alone": _of_right(lambda value: str(json.loads(value)["private_key"])),
        "in a list": _of_right("[{}]".format),
        "key of documentation": _constant(
            '{"type": "service_account", "client_email": "name@project.iam.gserviceaccount.com",'
            ' "private_key": "-----BEGIN PRIVATE KEY-----\\nPRIVATE_KEY\\n-----END PRIVATE KEY-----\\n"}'
        ),
    },
    OPTIONAL: OF_ALL
    | _OF_LINES
    | {
        "documentation": _constant("whsec_..."),
        "other vendor's": _made(lambda made: f"sk_live_{made.password[1:]}"),
        "prefix only": _constant("whsec_"),
        "off": _constant("off"),
        "none": _constant("None"),
        "disabled": _constant("disabled"),
        "false": _constant("false"),
    },
    V1: OF_ALL | _OF_LINES | {"the other key": lambda made, _variable: made.keys[V2]},
}
