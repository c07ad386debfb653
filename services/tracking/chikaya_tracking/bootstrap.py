"""Wires tracking together, by hand, in one place."""

import asyncio
from datetime import timedelta

from chikaya_contracts import legal_time
from chikaya_servicekit.clock import Clock, utc_now
from chikaya_servicekit.process import Process
from chikaya_servicekit.staff import Staff

from .adapters.inserts import TRANSIENT
from .adapters.mongo import Database, MongoAdministrations, MongoCases, MongoTries
from .api import Api
from .catalogue import Catalogue
from .clock import LegalClock
from .consumers import Handlers
from .domain.case import Rules
from .parking import Parking
from .settings import Settings
from .tries import FailedTries, Limit


def build(settings: Settings, clock: Clock = utc_now) -> Process:
    """Tracking, ready to be served."""
    database = Database(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    process = Process(settings, title="Tracking", transient=TRANSIENT, clock=clock)
    cases, catalogue = MongoCases(database), Catalogue(MongoAdministrations(database))
    rules = Rules(settings.warn_days, settings.reopen_days)
    handlers = Handlers(cases, catalogue, process.publisher, process.publisher.missing, rules)
    legal_clock = LegalClock(cases, process.publisher, clock, rules, settings.clock_period_s)
    too_long = timedelta(seconds=settings.parked_too_long_s)
    parking = Parking(cases, clock, rules, too_long, settings.clock_period_s)
    staff = Staff(settings)
    tries = FailedTries(
        MongoTries(database),
        clock,
        each=Limit(settings.tries_each, timedelta(minutes=15)),
        all=Limit(settings.tries_all, timedelta(minutes=1)),
    )
    api = Api(
        cases=cases,
        catalogue=catalogue,
        tries=tries,
        publisher=process.publisher,
        clock=clock,
        rules=rules,
        verifier_key=settings.verifier_key.get_secret_value().encode(),
        readers=staff.require("agent", "coordinator"),
        agents=staff.require("agent"),
        overseers=staff.require("coordinator", "operator"),
        too_long=too_long,
    )

    async def refresh_catalogue() -> None:
        while True:
            await catalogue.load()
            await asyncio.sleep(settings.catalogue_period_s)

    async def know_the_holidays() -> None:
        # The first deadline loads the calendars of all countries: half a second that no complaint has to wait for.
        await asyncio.to_thread(legal_time.deadlines, process.clock())

    process.need("mongo", database.ping)
    process.setup(know_the_holidays)
    process.setup(database.create_indexes)
    process.setup(catalogue.load)
    for consumer in handlers.consumers():
        process.consume(consumer)
    process.background(legal_clock.run)
    process.background(parking.run)
    process.note("parked", parking.note)
    process.background(refresh_catalogue)
    process.on_stop(database.close)
    process.app.include_router(staff.router)
    process.app.include_router(api.router())
    return process
