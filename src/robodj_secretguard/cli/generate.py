"""`generate`: new keys by the approved generators (policy section 1)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from robodj_secretguard.cli.options import add_command, directory_of, model_of, policy_of, told_model
from robodj_secretguard.cli.output import EXIT_CLEAN, Answer, is_terminal
from robodj_secretguard.errors import UsageError
from robodj_secretguard.generator import generate
from robodj_secretguard.lifecycle.key_files import write_keys
from robodj_secretguard.material import fingerprint
from robodj_secretguard.models import setup_of
from robodj_secretguard.sources import Environment, are_files_off, place

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from robodj_secretguard.cli.options import Commands
    from robodj_secretguard.models import SecretSettings
    from robodj_secretguard.policy import SecretPolicy
    from robodj_secretguard.sealed import SealedStr


CI_VARIABLES: Final = (
    "CI",  # GitHub, GitLab, CircleCI, Travis, Bitbucket, Drone, Semaphore, Buildkite and most others
    "CONTINUOUS_INTEGRATION",
    "BUILD_NUMBER",  # Jenkins, TeamCity
    "JENKINS_URL",
    "HUDSON_URL",
    "TEAMCITY_VERSION",
    "TF_BUILD",  # Azure Pipelines
    "CODEBUILD_BUILD_ID",  # AWS
    "BUILDKITE",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "BITBUCKET_BUILD_NUMBER",
    "APPVEYOR",
    "bamboo_buildKey",
    "GO_PIPELINE_NAME",  # GoCD
    "HARNESS_BUILD_ID",
    "PROW_JOB_ID",
    "CM_BUILD_ID",  # Codemagic
    "BUILDER_OUTPUT",  # Google Cloud Build
    "BUILD_ID",  # Jenkins, Concourse, Google Cloud Build
    "CODEBUILD_BUILD_ARN",
    "ARGO_NODE_ID",
    "JB_SPACE_API_URL",
    "TASKCLUSTER_ROOT_URL",
    "ZUUL_UUID",
    "OCTOPUS_TASK_ID",
)
"""A CI system sets one of these, and keeps what is printed."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "generate",
        _generate,
        options=("--config-dir", "--model"),
        description="Generate a new key by the approved generator. It is printed bare, without an end of line, for a"
        " pipe into the secret manager's own command; on a terminal, or in CI, only with --show.",
        epilog="exit status: 0 generated, 2 wrong usage, or nothing was generated",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the secret, such as secret.key")
    parser.add_argument(
        "--format",
        choices=("text", "env", "json"),
        default="text",
        help="text: the bare key of NAME; env, json: the variables of all, or of NAME",
    )
    parser.add_argument("--show", action="store_true", help="print keys on a terminal, or in CI")
    parser.add_argument("--write", action="store_true", help="write to the fallback files instead (break-glass)")
    parser.add_argument("--force", action="store_true", help="with --write: replace a key that is there")


def _generate(arguments: argparse.Namespace) -> Answer:
    model = model_of(arguments)
    declared = tuple(model.secret_policies.values())
    policies = declared if arguments.name is None else (policy_of(model, arguments.name),)
    if arguments.force and not arguments.write:
        msg = "--force goes with --write"
        raise UsageError(msg)
    if arguments.write:
        if arguments.show or arguments.format != "text":
            msg = "--write shows no key: it goes with neither --show nor --format"
            raise UsageError(msg)
        return _write(arguments, model, policies)
    if arguments.format == "text" and len(policies) > 1:
        names = ", ".join(policy.name for policy in declared)
        msg = f"name one secret ({names}), or pass --format env or json for all of them"
        raise UsageError(msg)
    seen = is_terminal(arguments.stdout)
    if (seen or _is_ci()) and not arguments.show:
        where = "on a terminal" if seen else "in CI, where the output is probably kept,"
        msg = f"a key is not shown {where} without --show; pipe it into the secret manager's own command instead"
        raise UsageError(msg)
    keys = {policy: generate(policy) for policy in policies}
    shown = _shown(keys, arguments.format)
    end = "\n" if seen or arguments.format != "text" else ""
    return Answer(EXIT_CLEAN, shown, told_model(arguments), end=end)


def _is_ci() -> bool:
    return any(os.environ.get(name) for name in CI_VARIABLES)


def _shown(keys: Mapping[SecretPolicy, SealedStr], form: str) -> str:
    variables = {policy.variable: key.get_secret_value() for policy, key in keys.items()}
    if form == "json":
        return json.dumps(variables, indent=2)
    if form == "env":
        return "\n".join(f"{variable}={key}" for variable, key in variables.items())
    return next(iter(variables.values()))


def _write(arguments: argparse.Namespace, model: type[SecretSettings], policies: tuple[SecretPolicy, ...]) -> Answer:
    if arguments.require_env_only or are_files_off(Environment(), setup_of(model)):
        msg = "nothing was written: fallback files are off, and a key file would be refused; deliver variables"
        raise UsageError(msg)
    directory, named_by = directory_of(arguments, model)
    if not os.path.isdir(directory):
        msg = "nothing was written: there is no config directory; make it, or pass --config-dir"
        raise UsageError(msg)
    keys = {policy: generate(policy) for policy in policies}
    try:
        write_keys(directory, keys, force=arguments.force)
    except UsageError as error:
        msg = f"not every key was written: {error}"
        raise UsageError(msg) from None
    lines = [
        f"{policy.name}: written to {place(policy.file, named_by)} ({fingerprint(key)})" for policy, key in keys.items()
    ]
    return Answer(EXIT_CLEAN, "\n".join(lines), told_model(arguments))
