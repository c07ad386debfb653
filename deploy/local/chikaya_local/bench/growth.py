"""The same pipeline with few cases and with many: what a complaint costs to write, what a page costs to read.

The many are clones of the few, which the real code has written; they are loaded by bulk into every store.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
from chikaya_contracts import topics
from pymongo import MongoClient
from pymongo.errors import BulkWriteError

from chikaya_local.login import SignInFailed, token_for

from . import wire
from .clones import clones
from .figures import Part, Plot, Table, percentile
from .journeys import Journey, Journeys, Unlike
from .pipeline import Maximum, loaded, sorted_texts, start
from .system import SERVICES, Options, System

WHOLE, IN_TRIAGE = 160, 40
"""Cases that the real code writes: closed, and waiting for a person."""
WINDOW, MEASURED_S = 128, 15.0
PAGES, ASKED = 6, 12
"""Pages of each list that are read, one after the other, and how often."""
BATCH, AT_ONCE = 1_000, 3
DUPLICATE_KEY = 11000
DATABASES = (*SERVICES, "desk")


@dataclass(frozen=True)
class Asked:
    """A list, a search or a case as somebody asks for it."""

    name: str
    process: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)


def few(system: System, ids: Sequence[str]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Every document about these complaints, by database and collection. Collections that hold anything else (the
    catalogue, keys, counters) are left out."""
    wanted, found = set(ids), dict[tuple[str, str], list[dict[str, Any]]]()
    with MongoClient[dict[str, Any]](system.mongo_uri, tz_aware=True) as client:
        for process in DATABASES:
            database = client[system.database(process)]
            for name in database.list_collection_names():
                documents = list(database[name].find({}))
                ours = [one for one in documents if any(id in str(one) for id in wanted)]
                if ours and len(ours) > len(documents) / 2:
                    found[process, name] = ours
    return found


def load(system: System, documents: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]], times: int) -> int:
    """Inserts every document `times` times, each time as another case; gives how many documents that made.

    Raises:
        Unlike: clones are not different enough from each other.
    """

    def load_one(of: tuple[tuple[str, str], Sequence[Mapping[str, Any]]]) -> int:
        (process, name), few_of_them = of
        collection, batch, refused = client[system.database(process)][name], list[dict[str, Any]](), 0
        wanted = times * len(few_of_them)
        for number, document in enumerate(clones(few_of_them, wanted), 1):
            batch.append(document)
            if len(batch) == BATCH or number == wanted:
                try:
                    collection.insert_many(batch, ordered=False)
                except BulkWriteError as error:
                    failures = error.details["writeErrors"]
                    if any(one["code"] != DUPLICATE_KEY for one in failures):
                        raise
                    refused += len(failures)
                batch = []
        if refused > wanted / 100:
            raise Unlike(f"{refused} of {wanted} clones in {process}.{name} have the key of another")
        return wanted - refused

    with (
        MongoClient[dict[str, Any]](system.mongo_uri, tz_aware=True) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        return sum(pool.map(load_one, documents.items()))


def asked(system: System, journeys: Sequence[Journey]) -> list[Asked]:
    """Every list, search and case that people ask for."""
    stack = system.stack

    def bearer(site: str, sub: str) -> dict[str, str]:
        secret, back = stack.secrets.oidc_clients[site], f"{stack.url(site)}/login/callback"
        return {"Authorization": f"Bearer {token_for(stack.url('identity'), site, secret, back, sub)}"}

    one = journeys[0]
    with_phone = next(journey for journey in journeys if journey.phone)
    triage, agent = bearer("routing", "triage@chikaya.local"), bearer("tracking", "agent@chikaya.local")
    officer = _officer(journeys, bearer)
    return [
        Asked("routing: triage queue", "routing", "/v1/triage", triage),
        Asked("routing: why a complaint was routed", "routing", f"/v1/complaints/{one.reference}/explanation", triage),
        *(
            Asked(f"desk: dossiers, {state}", "desk", f"/v1/dossiers?state={state}", officer)
            for state in ("todo", "waiting", "done", "all")
        ),
        Asked(
            "tracking: cases of a telephone",
            "tracking",
            f"/v1/complaints?telephone={with_phone.phone.replace('+', '%2B')}",
            agent,
        ),
        Asked("tracking: a case", "tracking", f"/v1/complaints/{one.reference}", {"Access-Code": one.access_code}),
        Asked("notification: a citizen's notices", "notification", f"/v1/notices/{one.complaint_id}", agent),
        Asked(
            "intake: a receipt again",
            "intake",
            f"/v1/receipts/{one.key}",
            {"X-API-Key": stack.secrets.channel_keys["app"]},
        ),
    ]


def _officer(journeys: Sequence[Journey], bearer: Any) -> dict[str, str]:
    """Of the desk's administrations that have a ready-made officer, the one with most dossiers."""
    holders = [journey.holder for journey in journeys if journey.inbox == topics.DESK]
    for holder in sorted(set(holders), key=holders.count, reverse=True):
        try:
            headers: dict[str, str] = bearer("desk", f"officer.{holder}@chikaya.local")
            return headers
        except (SignInFailed, httpx.HTTPError):
            continue
    raise Unlike("no administration of the desk that was relayed to has a ready-made officer")


async def read(system: System, one: Asked) -> list[float]:
    """Milliseconds of each page of a list, first to last of those that are read, several times.

    Raises:
        Unlike: a page was refused.
    """
    pool, times = wire.Pool("127.0.0.1", system.stack.ports.of(one.process)), list[float]()
    for _ in range(ASKED):
        path = one.path
        for _ in range(PAGES):
            begun = time.perf_counter()
            answer = await pool.ask(wire.request("GET", "127.0.0.1", path, one.headers))
            times.append((time.perf_counter() - begun) * 1000)
            if answer.status != 200:
                raise Unlike(f"{one.name}: HTTP {answer.status} {answer.body[:200]!r}")
            following = json.loads(answer.body).get("next")
            if not following:
                break
            after = httpx.QueryParams({"after": following})
            path = f"{one.path}{'&' if '?' in one.path else '?'}{after}"
    pool.close()
    return times


async def _run(system: System) -> Part:
    options = system.options
    relayed, triaged = await sorted_texts(system)
    writes, reads = dict[int, Maximum](), dict[int, dict[str, list[float]]]()
    made, loaded_s = 0, 0.0
    async with Journeys(system, relayed) as journeys:
        cases = await journeys.together(WHOLE)
        waiting = await asyncio.gather(*(journeys.file(whole=False, of=triaged) for _ in range(IN_TRIAGE)))
        inbox = topics.INBOX.named(topics.DESK).name
        await system.drained("desk.", [inbox])
        await system.settled()
        base = few(system, [one.complaint_id for one in (*cases, *waiting)])
        pages = asked(system, cases)
        names = (*SERVICES, *system.servers)
        for size in (0, options.growth):
            if size:
                begun = time.monotonic()
                made = await asyncio.to_thread(load, system, base, -(-size // (WHOLE + IN_TRIAGE)))
                loaded_s = time.monotonic() - begun
            reads[size] = {one.name: await read(system, one) for one in pages}
            writes[size] = await loaded(system, journeys, WINDOW, MEASURED_S, whole=False)
        await journeys.check()
    empty, grown = writes[0], writes[options.growth]
    written = Table(
        "Growth: what is written",
        ("cases there", "complaints/s", "of the empty one", *(f"ms {name}" for name in names)),
        tuple(
            (size, one.per_s, one.per_s / empty.per_s, *(one.cpu_ms.get(name) for name in names))
            for size, one in writes.items()
        ),
        f"filed, routed, dossier, visible; {WINDOW} on their way; {made:,} documents loaded in {loaded_s:.0f} s",
    )
    listed = Table(
        "Growth: what is read",
        ("page", "p50 ms, empty", "p99 ms, empty", f"p50 ms, {options.growth:,}", f"p99 ms, {options.growth:,}"),
        tuple(
            (one.name, *(percentile(reads[size][one.name], share) for size in reads for share in (0.5, 0.99)))
            for one in pages
        ),
        f"up to {PAGES} pages of each list one after the other, {ASKED} times, over HTTP; nothing else runs",
    )
    worst = max(percentile(times, 0.99) for times in reads[options.growth].values())
    plot = Plot(
        "p99 of each page",
        "ms",
        tuple(one.name.split(": ")[1] for one in pages),
        {f"{size:,} cases": tuple(percentile(reads[size][one.name], 0.99) for one in pages) for size in reads},
    )
    figures = {"growth_cases": options.growth, "growth_write_share": round(grown.per_s / empty.per_s, 3)}
    return Part("growth", (written, listed), (plot,), {**figures, "growth_page_p99_ms": round(worst, 1)})


def run(options: Options) -> Part:
    """Few, then many.

    Raises:
        Unlike: the pipeline did not do what was measured.
    """
    with System.running("growth", options) as system, system.sink():
        system.stack.start("identity", "desk")
        start(system)
        system.stack.wait_ready("identity", "desk")
        return asyncio.run(_run(system))
