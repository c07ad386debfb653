"""`python -m chikaya_local.identity`: the provider on CHIKAYA_PORT until SIGTERM."""

import logging
import signal

import waitress

from chikaya_local.identity.provider import IdentitySettings, create_app


def main() -> None:
    settings = IdentitySettings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # The library logs people and clients with each code that it issues.
    logging.getLogger("oidc_provider_mock").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    waitress.serve(create_app(settings), host=settings.host, port=settings.port, threads=8, ident=None)


if __name__ == "__main__":
    main()
