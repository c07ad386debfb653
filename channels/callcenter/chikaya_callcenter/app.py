"""The process: `python -m chikaya_callcenter.app`."""

from chikaya_servicekit.process import serve
from fastapi import FastAPI

from .bootstrap import build
from .settings import Settings


def create_app() -> FastAPI:
    """For ASGI servers that make their application themselves."""
    return build(Settings()).app


if __name__ == "__main__":
    serve(build(Settings()))
