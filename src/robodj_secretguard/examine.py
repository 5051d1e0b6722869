"""The one run of all checks that the guard and the command line share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationError

from robodj_secretguard.checks import Judgement, expiry, internal, state_of
from robodj_secretguard.fingerprint import fingerprint
from robodj_secretguard.models import RuntimeSecrets, SecretSettings, declares_secrets, require_values, setup_of
from robodj_secretguard.report import Check, Report, RevocationStatus, SecretStatus, Severity, State
from robodj_secretguard.sealed import contain, type_name
from robodj_secretguard.sources import Environment, read

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Mapping

    from robodj_secretguard.checks import Judged
    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.report import Finding

Model = TypeVar("Model", bound=SecretSettings)

_ORDER: Final = {check: place for place, check in enumerate(Check)}


def check(
    model: type[SecretSettings] = RuntimeSecrets,
    *,
    environ: Mapping[str, str] | None = None,
    config_dir: str | os.PathLike[str] | None = None,
    require_env_only: bool = False,
    now: datetime | None = None,
) -> Report:
    """Run every check that `guard()` runs, and return what they found (policy sections 6 and 7).

    It prints and logs nothing, exits never, and raises for no finding.

    Args:
        model: the settings model that declares the secrets.
        environ: the variables to read; `None` for those of the process.
        config_dir: where the fallback files are; `None` for `ROBODJ_CONFIG_DIR`, otherwise the model's, otherwise
            `config`.
        require_env_only: ignore fallback files whatever the switches in the environment say.
        now: the time to judge by, with a timezone; `None` for the clock's.

    Returns:
        The report: `ok` is true when there is no alert.

    Raises:
        TypeError: `model` declares no secret.
        ValueError: `now` has no timezone.
    """
    environment = Environment(environ)
    del environ  # a traceback with locals would show every variable
    try:
        report, _ = examine(
            model, environment=environment, config_dir=config_dir, require_env_only=require_env_only, now=now
        )
    finally:
        del model, config_dir, require_env_only, now  # nor what else was passed
    return report


def examine(
    model: type[Model],
    *,
    environment: Environment,
    config_dir: str | os.PathLike[str] | None,
    require_env_only: bool,
    now: datetime | None = None,
) -> tuple[Report, Model | None]:
    """Read once, run every check on what was read, and build the model from it when no check objects.

    Returns:
        The report, and the model of the very values that it is about: `None` when the report has an alert.

    Raises:
        TypeError: `model` declares no secret.
        ValueError: `now` has no timezone.
        KeyboardInterrupt: it was interrupted.
    """
    if not declares_secrets(model):
        del model, config_dir, require_env_only, now
        msg = "the model must be a subclass of SecretSettings that declares a secret"
        raise TypeError(msg)
    if now is not None and now.utcoffset() is None:
        del model, config_dir, require_env_only, now
        msg = "now must have a timezone"
        raise ValueError(msg)
    policies = tuple(model.secret_policies.values())
    now = (datetime.now(UTC) if now is None else now).astimezone(UTC)

    def run() -> tuple[Judgement, Report]:
        readings = read(
            policies,
            model._variables_read,  # noqa: SLF001 - a host's field may have any name without an underscore
            environment=environment,
            model_setup=setup_of(model),
            config_dir=config_dir,
            require_env_only=require_env_only,
            now=now,
        )
        judgement = Judgement(readings)
        return judgement, _report(judgement)

    checked = contain(run)
    if isinstance(checked, BaseException):
        # Not bool(): what was passed may be what failed.
        empty = Report(
            checked_at=now, require_env_only=require_env_only is True, revocation_list=None, secrets=(), findings=()
        )
        return _failed(empty, model.secret_policies, checked)
    judgement, report = checked
    if not report.ok:
        return report, None
    secrets = contain(lambda: _build(model, judgement))
    if isinstance(secrets, BaseException):
        return _failed(report, model.secret_policies, secrets)
    return report, secrets


def _build(model: type[Model], judgement: Judgement) -> Model:
    secrets = model(_judgement=judgement)
    require_values(secrets, judgement)  # once more: an `__init__` of the host's need not have called ours
    return secrets


def _report(judgement: Judgement) -> Report:
    setup = judgement.setup
    report = Report(
        checked_at=setup.now,
        require_env_only=setup.files_off,
        revocation_list=RevocationStatus(setup.revocation.sources, setup.revocation.fingerprints),
        secrets=tuple(_status(judged, judgement.sharing) for judged in judgement.secrets),
        findings=(),
    )
    return with_findings(report, judgement.findings, setup.policies)


def with_findings(report: Report, further: Iterable[Finding], policies: Iterable[SecretPolicy]) -> Report:
    """Return a report with further findings in their places, and the secrets that they refuse not usable.

    Args:
        report: the report.
        further: what was found since.
        policies: every declared secret's policy, in declared order.
    """
    findings = _in_order((*report.findings, *further), policies)
    refused = {finding.secret for finding in findings if finding.severity is Severity.ALERT}
    if refused:
        secrets = tuple(each._replace(usable=each.usable and each.secret not in refused) for each in report.secrets)
        report = report._replace(secrets=secrets)
    return report._replace(findings=findings)


def _in_order(findings: Iterable[Finding], policies: Iterable[SecretPolicy]) -> tuple[Finding, ...]:
    """Sort findings: the set-up's first, then each secret's in declared order, then in the order of `Check`."""
    rank = {policy.name: place for place, policy in enumerate(policies)}
    setup = -1
    return tuple(
        sorted(
            findings,
            key=lambda finding: (setup if finding.secret is None else rank[finding.secret], _ORDER[finding.check]),
        )
    )


def _status(judged: Judged, sharing: Collection[str]) -> SecretStatus:
    policy, value, state = judged.reading.policy, judged.reading.value, state_of(judged.findings)
    has_sound_key = state in (State.PRESENT, State.EXPIRED)
    return SecretStatus(
        secret=policy.name,
        variable=policy.variable,
        source=judged.reading.source,
        state=state,
        usable=policy.name not in sharing,
        expires_at=expiry(judged.reading.marker),
        owner=policy.owner,
        backup_owner=policy.backup_owner,
        rotation_days=policy.cadence.days,
        fingerprint=fingerprint(value) if value is not None and has_sound_key else None,
    )


def _failed(report: Report, declared: Mapping[str, SecretPolicy], failure: BaseException) -> tuple[Report, None]:
    """Return the report with an alert that says no more of a failure than its type and its secret."""
    if isinstance(failure, KeyboardInterrupt):
        raise failure
    policies = tuple(declared.values())
    policy = None
    if isinstance(failure, ValidationError):  # of a validator of the host's own
        location = failure.errors()[0]["loc"]
        policy = declared.get(str(location[0])) if location else None
    return with_findings(report, [internal(policies, type_name(failure), policy)], policies), None
