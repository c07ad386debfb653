"""Wires intake by hand: database, reception, outbox, API and consumer."""

import time

from chikaya_contracts import legal_time, topics
from chikaya_servicekit import faults
from chikaya_servicekit.consuming import Consumer
from chikaya_servicekit.process import Process
from chikaya_servicekit.staff import Staff

from . import api
from .adapters import mongo
from .adapters.gridfs import GridAttachments
from .adapters.mongo import MongoChannels, MongoComplaints
from .channels import Keyring
from .consumers import ChannelSubmissions
from .domain.acceptance import Secrets
from .domain.attachments import Links
from .domain.rate import Limiter
from .files import Files
from .outbox import Outbox
from .reception import Reception
from .settings import Settings


def build(settings: Settings) -> Process:
    """The process, ready to be served."""
    database = mongo.connect(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    complaints, attachments = MongoComplaints(database), GridAttachments(database)
    process = Process(
        settings, title="Intake", transient=mongo.TRANSIENT, kafka="optional", uploads=["/v1/attachments"]
    )
    secrets = Secrets(
        access_code=settings.access_code_secret.get_secret_value().encode(),
        verifier=settings.verifier_key.get_secret_value().encode(),
        links=Links(settings.attachment_link_secret.get_secret_value().encode(), settings.public_url.rstrip("/")),
    )
    outbox = Outbox(complaints, attachments, process.publisher, process.clock)
    reception = Reception(outbox, complaints, attachments, secrets, process.clock, settings.reference_block)
    files = Files(attachments, complaints, process.clock)
    submissions = ChannelSubmissions(reception, process.publisher, process.clock)

    async def ping() -> None:
        await mongo.ping(database)

    async def know_the_holidays() -> None:
        # The first deadlines take half a second, during which no other request would be answered.
        legal_time.deadlines(process.clock())

    async def close() -> None:
        database.client.close()

    process.need("mongo", ping)
    process.setup(know_the_holidays)
    process.setup(complaints.create_indexes)
    process.setup(attachments.create_indexes)
    process.background(outbox.relay_for_ever)
    process.background(outbox.recover_for_ever)
    process.background(outbox.live_for_ever)
    process.background(files.run)
    process.note("outbox", outbox.note)
    process.consume(Consumer("channels", [topics.CHANNEL_SUBMISSIONS], submissions.accept))
    process.on_stop(close)
    api.install(
        process.app,
        api.Intake(
            reception=reception,
            complaints=complaints,
            attachments=attachments,
            files=files,
            keyring=Keyring(MongoChannels(database), time.monotonic),
            limiter=Limiter(settings.requests_per_minute, time.monotonic),
            staff=Staff(settings),
            secrets=secrets,
            clock=process.clock,
            link_s=settings.attachment_link_s,
            away=(*faults.TRANSIENT, *mongo.TRANSIENT),
        ),
    )
    return process
