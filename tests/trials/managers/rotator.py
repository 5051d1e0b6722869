"""The program of test_rotation_crashes.py: it has imported the command and the clients of the managers.

It runs one command in each process, and may kill the process at a system call of the operations log.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from fork_server import next_request

from robodj_secretguard.cli import main
from robodj_secretguard.cli import rotate as _rotate
from robodj_secretguard.managers import aws as _aws
from robodj_secretguard.managers import vault as _vault

IMPORTED = (_rotate, _aws, _vault)


def kill_at(call: str, share: float) -> None:
    """Let a call of `os` kill this process.

    Args:
        call: `write`, which appends to the log, or `replace`, which puts the log's head file in place.
        share: how much of the call is done first: nothing, a part of the bytes, or all.
    """
    real = getattr(os, call)

    def killing(first: Any, second: Any, *more: Any) -> Any:
        if call == "write" and b'"sequence":' not in second:  # no record
            return real(first, second, *more)
        if share:
            real(first, second[: int(len(second) * share)], *more)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    setattr(os, call, killing)


if __name__ == "__main__":
    request = next_request()
    Path("pid").write_text(str(os.getpid()), encoding="ascii")
    if request["kill"]:
        kill_at(*request["kill"])
    sys.exit(main(request["argv"]))
