"""`python -m chikaya_local.inbox`: page and SMS gateway on CHIKAYA_PORT, SMTP on CHIKAYA_SMTP_PORT."""

import logging

import uvicorn

from chikaya_local.inbox.app import InboxSettings, create_app


def main() -> None:
    settings = InboxSettings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # aiosmtpd logs envelopes at INFO: addresses are personal data.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
