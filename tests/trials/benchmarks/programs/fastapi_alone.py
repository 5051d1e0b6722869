"""A FastAPI service with no settings at all."""

from fastapi import FastAPI

app = FastAPI()
