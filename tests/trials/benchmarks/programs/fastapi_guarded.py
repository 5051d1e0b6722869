"""A FastAPI service with the guard. It prints what that adds, in milliseconds."""

import time

from fastapi import FastAPI

app = FastAPI()
began = time.perf_counter()

from robodj_secretguard import guard  # noqa: E402 - it is measured

secrets = guard()
print((time.perf_counter() - began) * 1000)
