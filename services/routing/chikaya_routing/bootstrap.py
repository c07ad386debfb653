"""Wires routing: store, model and catalogue to consumers, API and triage."""

import time
from datetime import timedelta

from chikaya_contracts import topics
from chikaya_servicekit.consuming import Consumer
from chikaya_servicekit.faults import DependencyDown
from chikaya_servicekit.pages import Pages
from chikaya_servicekit.process import Process
from chikaya_servicekit.staff import Staff

from chikaya_routing import api, staff_pages
from chikaya_routing.adapters import mongo
from chikaya_routing.adapters.mongo import MongoStore
from chikaya_routing.catalogue import LiveCatalogue
from chikaya_routing.consumers import Handlers, every
from chikaya_routing.domain.rate import Limiter
from chikaya_routing.model import LiveModel
from chikaya_routing.settings import Settings
from chikaya_routing.triage import Triage

CATALOGUE_POLL_S = 5.0
RELEASE_POLL_S = 0.5


def build(settings: Settings) -> Process:
    """The process, ready to be served."""
    store = MongoStore(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    process = Process(settings, "Routing", transient=mongo.TRANSIENT)
    catalogue, model = LiveCatalogue(store), LiveModel(settings.model_path)

    async def catalogue_there() -> None:
        await catalogue.refresh()
        if not catalogue.edition.rows:
            raise DependencyDown("the catalogue is empty: chikaya catalogue import FILE --yes")

    handlers = Handlers(
        store, lambda: model.classifier, lambda: catalogue.edition.rows, process.publisher, process.clock
    )
    process.need("mongo", store.ping)
    process.need("model", model.load)
    process.need("catalogue", catalogue_there)
    process.setup(store.create_indexes)
    process.consume(Consumer("submissions", [topics.SUBMITTED], handlers.submitted, max_records=200))
    process.consume(Consumer("lifecycle", [topics.LIFECYCLE], handlers.lifecycle))
    process.consume(Consumer("supplements", [topics.SUPPLEMENTS], handlers.supplements))
    process.background(every(RELEASE_POLL_S, handlers.release))
    process.background(every(CATALOGUE_POLL_S, catalogue.refresh))
    process.on_stop(store.close)
    routing = api.Routing(
        triage=Triage(
            store,
            lambda: catalogue.edition.rows,
            process.clock,
            timedelta(seconds=settings.triage_undo_s),
            timedelta(seconds=settings.triage_lease_s),
        ),
        model=model,
        edition=lambda: catalogue.edition,
        staff=Staff(settings),
        pages=Pages("chikaya_routing"),
        limiter=Limiter(settings.classify_per_minute, time.monotonic),
    )
    api.install(process.app, routing)
    staff_pages.install(process.app, routing)
    return process
