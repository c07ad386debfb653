"""Wires the desk together, by hand, in one place."""

import asyncio

from chikaya_servicekit.clock import Clock, utc_now
from chikaya_servicekit.pages import Pages
from chikaya_servicekit.process import Process
from chikaya_servicekit.staff import Staff

from .adapters.kafka import Outbox
from .adapters.mongo import TRANSIENT, Database, MongoAdministrations, MongoDossiers
from .api import Api
from .catalogue import Catalogue
from .consumers import consumers
from .deciding import Deciding
from .officers import ROLES, officer_of
from .pages import DeskPages
from .settings import Settings


def build(settings: Settings, clock: Clock = utc_now) -> Process:
    """The desk, ready to be served."""
    database = Database(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    process = Process(settings, title="E-réclamation", transient=TRANSIENT, clock=clock)
    dossiers, catalogue = MongoDossiers(database), Catalogue(MongoAdministrations(database))
    deciding = Deciding(dossiers, catalogue, Outbox(process.publisher), clock)
    staff, pages = Staff(settings), Pages("chikaya_desk")
    officer = officer_of(staff.require(*ROLES))

    async def refresh_catalogue() -> None:
        while True:
            await catalogue.load()
            await asyncio.sleep(settings.catalogue_period_s)

    process.need("mongo", database.ping)
    process.setup(database.create_indexes)
    process.setup(catalogue.load)
    for consumer in consumers(dossiers, catalogue):
        process.consume(consumer)
    process.background(refresh_catalogue)
    process.on_stop(database.close)
    pages.install(process.app)
    process.app.include_router(staff.router)
    process.app.include_router(Api(dossiers, deciding, clock, officer).router())
    process.app.include_router(DeskPages(pages, dossiers, catalogue, deciding, clock, officer, TRANSIENT).router())
    return process
