"""Write new keys to the fallback files: break-glass storage on one machine (policy sections 1 and 2)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from robodj_secretguard.common.files import raise_file_error, reason, write_file
from robodj_secretguard.errors import UsageError
from robodj_secretguard.secret.policy import SecretPolicy
from robodj_secretguard.secret.sealed import SealedStr
from robodj_secretguard.startup.file_reader import path_faults, read_text_file
from robodj_secretguard.startup.readings import MAX_FILE_BYTES, within_config_dir
from robodj_secretguard.startup.rules import holds_key_material
from robodj_secretguard.startup.textfile import TextFile


def write_keys(directory: str, keys: Mapping[SecretPolicy, SealedStr], *, force: bool) -> None:
    """Write keys to their fallback files, unless one of these files must be kept.

    Each file is readable by its owner alone, and is replaced atomically, never through a link. `UsageError` says why a
    key was not written, and which ones already are.
    """
    paths = {policy: os.path.join(directory, within_config_dir(policy.file)) for policy in keys}
    files = {policy: read_text_file(path, most=MAX_FILE_BYTES) for policy, path in paths.items()}
    kept = [_why_kept(policy, path, files[policy], force=force) for policy, path in paths.items()]
    if any(kept):
        raise UsageError(". ".join(filter(None, kept)))
    written: list[str] = []
    for policy, key in keys.items():
        why = ""
        try:
            if exposed := path_faults(paths[policy]).exposed:
                raise_file_error(f"would fail the check: it {' and '.join(exposed)}; correct that, then try again")
            write_file(paths[policy], f"{key.get_secret_value()}\n".encode(), 0o600, replace=files[policy].exists)
        except OSError as error:
            why = f"{policy.file}: {reason(error)}"
        if why:  # outside of the handlers: the frames of the error have the key
            raise UsageError(f"{why}. Already written: {', '.join(written)}" if written else why)
        written.append(policy.name)


def _why_kept(policy: SecretPolicy, path: str, file: TextFile, *, force: bool) -> str:
    """Return why a secret's file must not be replaced; empty if it can be."""
    what = "cannot be read" if file.unreadable else "already has a key"
    reasons = (
        (os.path.islink(path), "is a symbolic link; replace it with a regular file"),
        (file.exists and not os.path.isfile(path), "is not a regular file; move it away"),
        (not force and holds_key_material(file, policy.material), f"{what}; to replace it, add --force"),
    )
    return next((f"{policy.file} {why}" for is_so, why in reasons if is_so), "")
