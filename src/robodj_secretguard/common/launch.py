"""Start a command: the variables that it gets, and its process."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

from robodj_secretguard.common.generator import ephemeral
from robodj_secretguard.startup.readings import Environment
from robodj_secretguard.startup.variables import ANNOUNCED, CONFIG_DIR, EPHEMERAL, PROTECTED_ENV, SECRETS_DIR

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from robodj_secretguard.secret.policy import SecretPolicy

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
"""Both are the statuses of a shell for the same."""


def set_temporary_keys(policies: Collection[SecretPolicy]) -> list[str]:
    """Set temporary keys in the environment of this process.

    Returns:
        The variables that are set already and deliver keys. If there is one, nothing changes.
    """
    names = [SECRETS_DIR, *[name for policy in policies for name in policy.variables]]
    already_set = [name for name in names if Environment().is_set(name)]
    if not already_set:
        os.environ.update(ephemeral(policies) | {EPHEMERAL: ANNOUNCED})
    return already_set


def settings_for_guard(config_dir: str | None, *, require_env_only: bool) -> dict[str, str]:
    """Return the variables that make the options of a check hold for the guard in a command."""
    settings = {} if config_dir is None else {CONFIG_DIR: os.path.abspath(config_dir)}
    return settings | ({PROTECTED_ENV: "true"} if require_env_only else {})


def replace_process(program: Sequence[str]) -> int:
    """Replace this process with a command; on Windows, run it. Return the exit status if this process continues.

    The command keeps the process id, the standard streams and all inherited descriptors.
    """
    try:
        if os.name == "nt":
            return _run_on_windows(program)
        for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and so would what replaces the process
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execvp(program[0], list(program))  # noqa: S606 - the operator names the command
    except (FileNotFoundError, NotADirectoryError, ValueError):  # an empty name is a ValueError
        return NOT_FOUND
    except OSError:
        return NOT_EXECUTABLE


def _run_on_windows(program: Sequence[str]) -> int:
    import shutil  # noqa: PLC0415 - only where a process cannot be replaced
    import subprocess  # noqa: PLC0415

    signal.signal(signal.SIGINT, lambda *_: None)  # both processes get Control-C, and the command decides
    # CreateProcess does not find .cmd and .bat files.
    return signed(subprocess.call([shutil.which(program[0]) or program[0], *program[1:]]))  # noqa: S603 - as above


def signed(status: int) -> int:
    """Return an unsigned Windows status as the signed number that `sys.exit` needs."""
    return (status + 2**31) % 2**32 - 2**31
