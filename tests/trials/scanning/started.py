"""Run a command, and write its time and memory. A new process counts the memory of the process that started it."""

import json
import os
import sys
import time


def main() -> None:
    """Run the command. The arguments are the files for the figures and the output, the time limit, and the command."""
    figures, output, limit, *command = sys.argv[1:]
    began = time.perf_counter()
    child = os.fork()
    if not child:
        os.setsid()  # so its children are killed with it
        written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(written, 1)
        os.dup2(os.open(os.devnull, os.O_RDWR), 2)
        os.execvp(command[0], command)  # noqa: S606 - without a shell on purpose
    status = None
    while status is None:
        ended, how, usage = os.wait4(child, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(how)
        elif time.perf_counter() - began > float(limit):
            os.killpg(child, 9)
            _, how, usage = os.wait4(child, 0)
            status = os.waitstatus_to_exitcode(how)
        else:
            time.sleep(0.005)
    took = time.perf_counter() - began
    with open(figures, "w", encoding="ascii") as file:
        json.dump(
            {
                "status": status,
                "seconds": took,
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
                "mib": usage.ru_maxrss / 1024,
            },
            file,
        )


if __name__ == "__main__":
    main()
