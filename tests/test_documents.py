"""The JSON document of a report is valid. tests/test_kinds.py tests all kinds and their schemas."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from conftest import V1, document_of, good_keys, marker
from jsonschema import ValidationError

from robodj_secretguard import Report, check

if TYPE_CHECKING:
    from conftest import Checker


def test_report_is_a_valid_document(checker: Checker) -> None:
    """The result of `Report.as_dict()` is a valid document, without the model."""
    report = checker(good_keys() | {f"{V1}_EXPIRES_AT": marker(timedelta(days=3))}).as_dict()
    assert document_of(json.dumps(report)) == report
    assert "model" not in report


def test_report_of_a_failed_check_is_a_valid_document(checker: Checker) -> None:
    """The report of a failed check is a valid document too."""
    report = Report(checker({}).checked_at, require_env_only=True, revocation_list=None, secrets=(), findings=())
    assert document_of(json.dumps(report.as_dict()))["secrets"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("checked_at", "yesterday"), ("checked_at", None), ("schema", 2), ("ok", "true"), ("secrets", [{}]), ("more", 1)],
)
def test_document_with_a_wrong_type_is_invalid(name: str, value: object) -> None:
    """The validation in the tests refuses values of a wrong type, and fields that the schema does not describe."""
    with pytest.raises(ValidationError):
        document_of(json.dumps(check(environ={}).as_dict() | {name: value}))
