"""The routing process: `python -m chikaya_routing.app`."""

from chikaya_servicekit.process import serve

from chikaya_routing.bootstrap import build
from chikaya_routing.settings import Settings

if __name__ == "__main__":
    serve(build(Settings()))
