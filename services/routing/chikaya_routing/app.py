"""The routing process: `python -m chikaya_routing.app`."""

from chikaya_servicekit.process import serve
from fastapi import FastAPI

from chikaya_routing.bootstrap import build
from chikaya_routing.settings import Settings


def create_app() -> FastAPI:
    """The application, for an ASGI server that is started otherwise."""
    return build(Settings()).app


if __name__ == "__main__":
    serve(build(Settings()))
