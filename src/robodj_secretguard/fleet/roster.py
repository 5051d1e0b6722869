"""The roster: the services of a fleet, and the instances that each of them should have (policy section 3)."""

from __future__ import annotations

import tomllib
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import to_json

from robodj_secretguard.common.shapes import SHAPE, EnvironmentName, SecretName, must
from robodj_secretguard.errors import UsageError
from robodj_secretguard.secret.texts import is_instance_name

InstanceName = Annotated[str, must(is_instance_name)]


@dataclass(frozen=True, config=SHAPE)
class Service:
    """A service of the roster.

    Attributes:
        name: the name of the service, with its namespace where there is one: `prod/api`.
        instances: how many instances there should be, or their names.
        secrets: the secrets that each instance uses; empty for all.
        sources: where its expected keys are, as for `--from`; empty for those of the command.
        environment: its environment in the operations log; `None` for that of the command.
    """

    name: Annotated[InstanceName, Field(alias="")]  # the key of its table
    instances: (
        Annotated[int, Field(ge=1)]
        | Annotated[tuple[InstanceName, ...], Field(min_length=1), must(lambda names: len({*names}) == len(names))]
    )
    secrets: Annotated[tuple[SecretName, ...], Field(min_length=1)] = ()
    sources: Annotated[tuple[str, ...], Field(min_length=1, alias="from")] = ()
    environment: EnvironmentName | None = None


_SERVICES: Final = TypeAdapter(Annotated[tuple[Service, ...], Field(min_length=1)])


def parse_roster(text: str) -> tuple[Service, ...]:
    """Return the services of a roster in TOML.

    Raises:
        UsageError: it is invalid. The message has no part of the text.
    """
    which = "the file"
    try:
        tables = [{**table, "": name} for name, table in tomllib.loads(text).items()]
        return _SERVICES.validate_json(to_json(tables))
    except ValidationError as error:
        if where := error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]:
            which = f"service {int(where[0]) + 1}"
    except (ValueError, TypeError, RecursionError):  # not TOML, or not a table
        pass
    raise UsageError(
        f"--roster: {which} is invalid; write a table for each service, with instances (a number, or each name once)"
        ' and, where needed, secrets, from and environment; quote a name with a slash: ["prod/api"]'
    )
