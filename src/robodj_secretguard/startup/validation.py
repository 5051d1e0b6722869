"""The `ValidationError` of a settings model that is refused. It has no input."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from robodj_secretguard.secret.sealed import type_name
from robodj_secretguard.startup.report import Finding, finding
from robodj_secretguard.startup.rules import Check, internal


def refusal(secrets: Any, alerts: Iterable[Finding]) -> ValidationError:
    """Return the error of all alerts, each with the field of its secret."""
    fields = {policy.name: (field,) for field, policy in secrets.secret_policies.items()}
    return _validation_error(secrets, [(fields.get(alert.secret or "", ()), alert) for alert in alerts])


def without_inputs(secrets: Any, error: ValidationError) -> ValidationError:
    """Return an error without inputs and without the texts of the host's validators, which may contain a key."""
    policies = secrets.secret_policies
    failed = finding(policies.values(), Check.INTERNAL, internal(type_name(error)))
    return _validation_error(
        secrets, [(tuple(name for name in policies if name in each["loc"])[:1], failed) for each in error.errors()]
    )


def _validation_error(secrets: Any, found: Iterable[tuple[tuple[str, ...], Finding]]) -> ValidationError:
    """Return pydantic's error of findings and their fields, without inputs."""
    lines = [
        InitErrorDetails(type=PydanticCustomError(each.check.value, each.message), loc=place, input=None)
        for place, each in found
    ]
    title = secrets.model_config.get("title") or type(secrets).__name__
    return ValidationError.from_exception_data(title, lines, hide_input=True)
