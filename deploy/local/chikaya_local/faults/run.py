"""A run: the load, a fault at a random moment of it, recovery measured, and every complaint checked."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Self

from chikaya_contracts.topics import CATALOGUE as CATALOGUE_TOPIC
from chikaya_contracts.topics import expand
from chikaya_servicekit.cli import own_systems

from chikaya_local.bootstrap import CATALOGUE, KAFKA_CHANNELS
from chikaya_local.faults import audit
from chikaya_local.faults.audit import Verdict
from chikaya_local.faults.journeys import TOLD, Journey, journeys
from chikaya_local.faults.parties import Parties
from chikaya_local.faults.stores import Stores
from chikaya_local.faults.table import Fault, Scene
from chikaya_local.faults.witness import Place, Witness
from chikaya_local.kafka import ADMIN
from chikaya_local.programs import PROGRAMS, Ports
from chikaya_local.report import Report
from chikaya_local.stack import Settings, Stack

PROCESSES = ("inbox", "identity", "intake", "routing", "tracking", "notification")
MORE = {"routing": {"TRIAGE_UNDO_S": "1"}, "notification": {"CLAIM_S": "20"}}
"""An officer's decision rests 1 s instead of 60; what a killed process had claimed to send is free after 20 s."""
MOST_UNDER_WAY = 1_500
"""Journeys that have not ended; more are not begun until some have."""
LOOK_EVERY_S = 0.25
RECOVERED_WITHIN_S, HOLDS_S = 120.0, 2.0
STANDSTILL_S = 60.0
OUTCOMES_WITHIN_S = 90
RECORDS_READ = 30
"""By all the services' consumers, for one whole journey: what the load gives them in a second is near zero lag."""


def stack_for(directory: Path, ports: Ports, report: Report, nodes: int = 1) -> Stack:
    """A stack of the processes that a complaint passes through, all administrations in it having their own systems."""
    settings = Settings(kafka_nodes=nodes, kafka_heap="512m" if nodes == 1 else "320m", more=MORE)
    programs = tuple(program for program in PROGRAMS if program.name in PROCESSES)
    return Stack(directory, ports, settings, programs=programs, report=report)


@dataclass
class Row:
    """One fault and what came of it. Seconds are from the fault's end.

    `waited_for` is what recovery waited for last. `spoiled` are the places of undecodable records that were written,
    `set_aside` those of records that have become dead letters meanwhile.
    """

    fault: Fault
    journeys: list[Journey] = field(default_factory=list)
    recovered_s: float | None = None
    settled_s: float = 0.0
    lag_before: int = 0
    waited_for: str = ""
    spoiled: set[Place] = field(default_factory=set)
    set_aside: set[Place] = field(default_factory=set)
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def acknowledged(self) -> int:
        """How many complaints were acknowledged to who filed them."""
        return sum(journey.acknowledged_at is not None for journey in self.journeys)


class Run:
    """A stack under load. An async context manager; the stack runs already, and is left running.

    Args:
        rate: complaints filed a second.
        seed: of the mix, and of the moments at which faults strike.
    """

    def __init__(self, stack: Stack, *, rate: float, seed: int, told: Callable[[str], None] = lambda _: None) -> None:
        self.stack, self.rate, self.told = stack, rate, told
        self.rows: list[Row] = []
        self._rng = random.Random(seed)
        self._new = journeys(seed, f"{self._rng.randrange(10**6):06d}")
        self._by_key: dict[str, Journey] = {}
        self._by_id: dict[str, Journey] = {}
        self._under_way: set[str] = set()
        self._unsettled = monotonic()

    async def __aenter__(self) -> Self:
        administrations = own_systems(CATALOGUE)
        read = [topic for topic in expand(administrations, list(KAFKA_CHANNELS)) if topic != CATALOGUE_TOPIC]
        self._witness = Witness(self._client(ADMIN), read, self._changed)
        self._parties = Parties(self.stack, self._client, administrations, self._rng)
        self._stores = Stores(self.stack)
        self._witnessing = asyncio.create_task(self._witness.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._witnessing.cancel()
        await asyncio.gather(self._witnessing, return_exceptions=True)
        await self._parties.close()
        self._stores.close()

    def _client(self, principal: str) -> dict[str, Any]:
        env = self.stack.kafka_env(principal)
        return {
            "bootstrap_servers": env["KAFKA_BOOTSTRAP"],
            "client_id": f"faults-{principal}",
            "security_protocol": env["KAFKA_SECURITY"],
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": env["KAFKA_USER"],
            "sasl_plain_password": env["KAFKA_PASSWORD"],
            "metadata_max_age_ms": 10_000,
        }

    # -- what the topics say of whom

    def _known(self, journey: Journey) -> None:
        """Its id is known: what the topics have said before counts too."""
        self._by_key[journey.key] = journey
        if journey.complaint_id:
            self._by_id[journey.complaint_id] = journey
            journey.trail = self._witness.trails[journey.complaint_id]
            self._changed(journey.complaint_id)

    def _changed(self, key: str) -> None:
        if journey := self._by_id.get(key):
            if journey.trail.ended:
                self._under_way.discard(journey.key)
            self._unsettled = monotonic()
            self._parties.go_on(journey)
        elif (journey := self._by_key.get(key)) and journey.key in self._witness.receipts:
            self._parties.read_receipt(journey, self._known)

    # -- a row

    async def row(self, fault: Fault, complaints: int) -> Row:
        """One fault under load, until at least `complaints` were filed and the system has recovered and settled."""
        row = Row(fault)
        self.rows.append(row)
        enough = asyncio.Event()
        loading = asyncio.create_task(self._load(row, complaints, enough))
        try:
            row.lag_before = await self._highest_lag(complaints / self.rate * self._rng.uniform(0.15, 0.3))
            self.told(f"{fault.name}: strikes")
            scene = Scene(self.stack, self._parties, self._rng, row.spoiled)
            ended = await fault.strike(scene)
            self.told(f"{fault.name}: recovery")
            row.recovered_s = await self._recovery(row, ended)
            if fault.mend:
                await fault.mend(scene)
            await enough.wait()
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
        self.told(f"{fault.name}: all journeys to their end")
        await self._settled(row)
        row.settled_s = monotonic() - ended
        await self._check([row], outcomes_due=False)
        return row

    async def last_check(self) -> None:
        """Everything once more at the end, over all rows: what came late is counted too, and outcomes of notices."""
        for _ in range(OUTCOMES_WITHIN_S):
            if all(self._outcomes_there(one) for row in self.rows for one in row.journeys):
                break
            await asyncio.sleep(1)
        await self._check([*reversed(self.rows)], outcomes_due=True)
        expected = {journey.complaint_id for row in self.rows for journey in row.journeys}
        for complaint_id, trail in self._witness.trails.items():
            if complaint_id not in expected and (trail.submitted or trail.history):
                self.rows[-1].verdict.doubled[complaint_id].append("a complaint that nobody has a receipt of")

    async def _load(self, row: Row, complaints: int, enough: asyncio.Event) -> None:
        """Files at the rate, for as long as it is let; late ticks are made up for. Says when `complaints` are filed."""
        begun, number = monotonic(), 0
        while True:
            await asyncio.sleep(max(0.0, begun + number / self.rate - monotonic()))
            number += 1
            if len(self._under_way) >= MOST_UNDER_WAY:
                continue
            journey = next(self._new)
            row.journeys.append(journey)
            self._under_way.add(journey.key)
            self._by_key[journey.key] = journey
            self._parties.file(journey, self._known)
            if len(row.journeys) >= complaints:
                enough.set()

    async def _highest_lag(self, seconds: float) -> int:
        highest, until = round(RECORDS_READ * self.rate), monotonic() + seconds
        while monotonic() < until:
            await asyncio.sleep(LOOK_EVERY_S)
            highest = max(highest, self._witness.lag)
        return highest

    async def _recovery(self, row: Row, ended: float) -> float | None:
        """Seconds from `ended` until all is well again, and stays so for `HOLDS_S`: a complaint filed after it is
        relayed and seen by its citizen, all processes are ready, and the lag is no higher than before the fault. None
        if that takes too long."""
        well_since = None
        while (looked := monotonic()) - ended < RECOVERED_WITHIN_S:
            if missing := await self._missing(row, ended):
                well_since, row.waited_for = None, missing
            elif well_since is None:
                well_since = monotonic()
            elif looked - well_since >= HOLDS_S:
                return well_since - ended
            await asyncio.sleep(LOOK_EVERY_S)
        return None

    async def _missing(self, row: Row, since: float) -> str:
        """What is not well yet, if anything."""
        filed = (one for one in row.journeys if one.filed_at > since and one.access_code and one.trail.has("routed"))
        if (first := next(filed, None)) is None:
            return "no complaint filed since has been relayed"
        if not await self._parties.visible(first):
            return "tracking does not show the relay"
        if away := await self._parties.not_ready():
            return f"not ready: {', '.join(away)}"
        lag = self._witness.lag
        return f"a lag of {lag} records" if lag > row.lag_before else ""

    async def _settled(self, row: Row) -> None:
        """Until every journey has ended, its notices have arrived, and the lag is zero; or nothing moves any more."""
        self._unsettled, letters = monotonic(), -1
        while monotonic() - self._unsettled < STANDSTILL_S:
            await asyncio.sleep(LOOK_EVERY_S)
            await asyncio.to_thread(self._stores.read_inbox)
            if letters != (letters := sum(map(len, self._stores.letters.values()))):
                self._unsettled = monotonic()
            if self._under_way or not all(map(self._notices_there, row.journeys)):
                continue
            if row.spoiled <= self._witness.dead_letters.keys() and self._witness.lag == 0:
                return

    def _notices_there(self, journey: Journey) -> bool:
        due = sum(event.type in TOLD for event in journey.trail.history)
        return all(len(self._stores.letters.get(address, ())) >= due for address in journey.means.values())

    def _outcomes_there(self, journey: Journey) -> bool:
        return len(journey.trail.outcomes) >= 2 * sum(event.type in TOLD for event in journey.trail.history)

    async def _check(self, rows: Sequence[Row], *, outcomes_due: bool) -> None:
        await asyncio.to_thread(self._stores.read_inbox)
        for row in rows:
            references = [journey.reference for journey in row.journeys if journey.reference]
            row.verdict = audit.audit(
                row.journeys,
                tracked=await asyncio.to_thread(self._stores.tracked, references),
                letters=self._stores.letters,
                receipts=self._witness.receipts,
                outcomes_due=outcomes_due,
            )
            row.verdict.copies += sum(self._witness.receipt_copies[journey.key] for journey in row.journeys)
            earlier = {place for other in self.rows if other is not row for place in other.set_aside}
            row.set_aside |= self._witness.dead_letters.keys() - earlier
            letters = {place: self._witness.dead_letters[place] for place in row.set_aside}
            row.verdict.add(audit.dead_letters(letters, row.spoiled))


def problems(row: Row) -> str:
    """All that is wrong in a row, as indented JSON: complaint → what; empty when nothing is."""
    wrong = {"lost": row.verdict.lost, "doubled": row.verdict.doubled, "disordered": row.verdict.disordered}
    found = {kind: complaints for kind, complaints in wrong.items() if complaints}
    return json.dumps(found, ensure_ascii=False, indent=1) if found else ""
