"""The `ValidationError` of settings that are refused."""

from __future__ import annotations

import pytest
from conftest import NOW, V1, good_keys, process_environment
from detector import leaks
from pydantic import SecretStr, TypeAdapter, ValidationError
from pydantic_settings import SettingsConfigDict

from robodj_secretguard import RuntimeSecrets, check
from robodj_secretguard.startup.validation import refusal, without_inputs


class Titled(RuntimeSecrets):
    """A model with a title of its own."""

    model_config = SettingsConfigDict(title="Our keys")


@pytest.mark.parametrize(("model", "title"), [(RuntimeSecrets, "RuntimeSecrets"), (Titled, "Our keys")])
def test_each_alert_has_the_field_of_its_secret(model: type[RuntimeSecrets], title: str) -> None:
    """The error has the title of the model, and each alert in order. An alert of the set-up has no field."""
    with process_environment(good_keys()):
        made = model()
    alerts = check(model, environ=good_keys() | {V1: "", "ROBODJ_PROTECTED_ENV": "maybe"}, now=NOW).alerts
    error = refusal(made, alerts)
    assert error.title == title
    assert [(each["type"], each["loc"], each["msg"]) for each in error.errors()] == [
        ("setting", (), alerts[0].message),
        ("missing", ("secret_key",), alerts[1].message),
    ]


def test_error_of_a_validator_has_no_text_of_it() -> None:
    """The error of a host's validator keeps the field. Its text and its input may be a key."""
    keys = good_keys()
    with process_environment(keys):
        made = RuntimeSecrets()
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(dict[str, int]).validate_python({"secret_key": keys[V1], "other": SecretStr(keys[V1])})
    error = without_inputs(made, raised.value)
    assert [(each["type"], each["loc"]) for each in error.errors()] == [("internal", ("secret_key",)), ("internal", ())]
    assert leaks(f"{error}{error!r}{error.errors()}{error.json()}", list(keys.values())) == []
