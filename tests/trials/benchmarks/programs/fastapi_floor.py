"""A FastAPI service with the floor. It prints what that adds, in milliseconds."""

import time

from fastapi import FastAPI

app = FastAPI()
began = time.perf_counter()

from floor import Settings  # noqa: E402 - it is measured

settings = Settings()
print((time.perf_counter() - began) * 1000)
