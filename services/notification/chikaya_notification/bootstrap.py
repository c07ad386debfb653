"""Wires notification's parts together."""

from datetime import timedelta

from chikaya_contracts import topics
from chikaya_contracts.submission import NoticeLanguage
from chikaya_servicekit.consuming import Consumer
from chikaya_servicekit.process import Process
from chikaya_servicekit.staff import Staff

from . import api
from .adapters import mongo
from .adapters.sms import Gateway
from .adapters.smtp import Mailer
from .consumers import Handlers
from .domain.notices import Notice
from .domain.wording import Name, Wording
from .names import Names
from .outcomes import Outcomes
from .sending import Sender
from .settings import Settings


def build(settings: Settings) -> Process:
    """The process, ready to be served."""
    process = Process(settings, title="Notification", transient=mongo.TRANSIENT)
    database = mongo.MongoNotification(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    wording = Wording(settings.portal_url)
    outcomes = Outcomes(database.notices, process.publisher, process.clock)
    names = Names(database.administrations, process.clock)
    mailer = Mailer(
        settings.smtp_host,
        settings.smtp_port,
        settings.mail_from,
        process.clock,
        user=settings.smtp_user,
        password=settings.smtp_password.get_secret_value(),
        tls=settings.smtp_tls,
    )
    gateway = Gateway(settings.sms_url, settings.sms_token.get_secret_value())

    async def by_email(notice: Notice, language: NoticeLanguage, address: str, name: Name | None) -> None:
        await mailer.send(notice.id, address, wording.mail(notice, language, name), language)

    async def by_sms(notice: Notice, language: NoticeLanguage, address: str, name: Name | None) -> None:
        await gateway.send(notice.id, address, wording.sms(notice, language, name))

    lease = timedelta(seconds=settings.claim_s)
    common = (database.notices, names, outcomes, process.clock)
    emails = Sender("email", by_email, *common, settings.mails_at_once, lease, mongo.TRANSIENT)
    messages = Sender("sms", by_sms, *common, settings.sms_at_once, lease, mongo.TRANSIENT)

    handlers = Handlers(
        database.notices, database.administrations, outcomes, process.clock, {"email": emails, "sms": messages}
    )
    process.need("mongo", database.ping)
    process.setup(database.create_indexes)
    process.consume(Consumer("notices", [topics.SUBMITTED, topics.LIFECYCLE], handlers.happened))
    process.consume(Consumer("catalogue", [topics.CATALOGUE], handlers.listed))
    process.background(emails.run)
    process.background(messages.run)
    process.background(outcomes.run)
    process.note("email", lambda: emails.held_by)
    process.note("sms", lambda: messages.held_by)
    process.on_stop(mailer.close)
    process.on_stop(gateway.close)
    process.on_stop(database.close)
    process.app.include_router(api.router(database.notices, Staff(settings)))
    return process
