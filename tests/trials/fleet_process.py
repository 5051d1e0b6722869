"""Start the guarded processes of a fleet: forks of a process that has imported the library.

Each line on stdin is `{"instance": NAME, "environ": {...}}`: a process with these variables replaces that of the
instance, and a line on stdout says that its guard has let it start. With `"signal"` in place of `"environ"`, it gets a
signal. After a SIGTERM, it says its end. All processes end with this one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import NoReturn

from robodj_secretguard import guard
from robodj_secretguard.running.heartbeat import send_end


def serve(environ: dict[str, str], started: int) -> NoReturn:
    """Be a service: call the guard, and wait."""
    os.environ.update(environ)
    try:
        secrets = guard()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        os.write(started, b"started\n")
        while True:
            signal.pause()
    except SystemExit:
        send_end()
        del secrets  # until now, it is in use
    finally:
        os._exit(1)


def main() -> None:
    """Do what each line says."""
    processes: dict[str, int] = {}
    for line in sys.stdin:
        command = json.loads(line)
        name = command["instance"]
        if "signal" in command:
            os.kill(processes[name], command["signal"])
            continue
        if name in processes:
            os.kill(processes[name], signal.SIGKILL)
            os.waitpid(processes[name], 0)
        if not (child := os.fork()):
            serve(command["environ"], 1)
        processes[name] = child
    for process in processes.values():
        os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    main()
