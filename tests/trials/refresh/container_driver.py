"""In the container: start the units, and write what each one does, until the file `stop` is there."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from refreshed_tasks import NAME, make

OUT = Path("/out")
SECONDS = 1


def signs(port: int) -> bool:
    """Whether a host signs a token."""
    if port:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection:
                connection.request("GET", "/jwt/sign?argument=user")
                return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
    reply = f"reply-{uuid.uuid4()}"
    try:
        TASKS.send_task(NAME, (reply, "jwt", "sign", "user"), expires=SECONDS)
        found = ANSWERS.blpop([reply], timeout=SECONDS)
    except RedisError:
        return False
    return found is not None and json.loads(found[1])[0] == 200


def properties(unit: str) -> dict[str, str]:
    """Return what systemd says of a unit."""
    names = "--property=ActiveState,SubState,NRestarts,ExecMainStatus,ExecMainCode,Result"
    ran = subprocess.run(["systemctl", "show", names, unit], capture_output=True, text=True, check=True)  # noqa: S607
    return dict(line.split("=", 1) for line in ran.stdout.splitlines())


if __name__ == "__main__":
    queue, *pairs = sys.argv[1:]
    TASKS, ANSWERS = make(int(queue)), Redis("127.0.0.1", int(queue))
    units = dict(each.split("=") for each in pairs)
    subprocess.run(["systemctl", "start", "queue", *units], check=True)  # noqa: S607
    with (OUT / "seen").open("a", encoding="utf-8", buffering=1) as seen:
        while not (OUT / "stop").exists():
            for unit, port in units.items():
                seen.write(json.dumps({"unit": unit, "at": time.time(), "signs": signs(int(port)), **properties(unit)}))
                seen.write("\n")
            time.sleep(0.3)
    journal = subprocess.run(["journalctl", "--no-pager"], capture_output=True, check=True)  # noqa: S607
    (OUT / "journal").write_bytes(journal.stdout)
