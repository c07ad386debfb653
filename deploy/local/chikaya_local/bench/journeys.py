"""Complaints on their way through the running pipeline, followed from outside: by HTTP and by what stands on topics.

Administrations are played here: each answers from its own topic, as one with a system of its own does; citizens rate
the answer through tracking's API, which closes the case.
"""

import asyncio
import json
import random
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, encode
from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.administration import Acknowledge, AdministrationDecision, Answer
from chikaya_contracts.messages.lifecycle import CaseAcknowledged, CaseAnswered, CaseClosed, CaseRated, CaseRouted
from chikaya_contracts.messages.notification import NoticeSent
from chikaya_contracts.messages.routing import DossierForwarded

from . import wire, workload
from .system import System

NOTICES = ("receipt", "relayed", "answer")
"""What the citizen of an answered complaint is sent, by each means."""
UNFINISHED_AFTER_S = 90.0
SAMPLE = 25


class Unlike(Exception):
    """What was measured is not what it was taken for; says how."""


@dataclass(slots=True)
class Journey:
    """One complaint; moments are of the monotonic clock, 0 while they have not come."""

    whole: bool
    due: float = 0.0
    receipt: float = 0.0
    dossier: float = 0.0
    visible: float = 0.0
    closed: float = 0.0
    notices: int = 0
    wanted: int = 0
    acknowledged: bool = False
    holder: str = ""
    inbox: str = ""
    complaint_id: str = ""
    key: str = ""
    phone: str = ""
    reference: str = ""
    access_code: str = ""
    relayed: "asyncio.Future[float]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    ended: "asyncio.Future[float]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def look(self, now: float) -> None:
        """Sees whether this has brought the journey to one of its ends."""
        if self.receipt and self.dossier and self.visible and not self.relayed.done():
            self.relayed.set_result(now)
        if self.receipt and self.closed and self.notices >= self.wanted and not self.ended.done():
            self.ended.set_result(now)

    @property
    def stands(self) -> str:
        """How far it has come, for who wonders why it goes no further."""
        seen = [name for name in ("receipt", "dossier", "visible", "closed") if getattr(self, name)]
        return f"{self.complaint_id}: {', '.join(seen)}, {self.notices} of {self.wanted} notices"

    @property
    def end(self) -> "asyncio.Future[float]":
        """The one that this journey is to come to."""
        return self.ended if self.whole else self.relayed


class Journeys:
    """Files complaints and follows them.

    Args:
        texts: what is complained of: texts that are relayed without a person's help.
    """

    def __init__(self, system: System, texts: Sequence[str]) -> None:
        ports = system.stack.ports
        self._system, self._texts, self._next = system, texts, 0
        self._intake = wire.Pool("127.0.0.1", ports.of("intake"))
        self._tracking = wire.Pool("127.0.0.1", ports.of("tracking"))
        self._key = system.stack.secrets.channel_keys["app"]
        self._known: dict[str, Journey] = {}
        self._exit = AsyncExitStack()
        self._acting: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Journeys":
        kafka = self._system.kafka()
        self._producer = await self._exit.enter_async_context(AIOKafkaProducer(**kafka, acks="all"))
        self._consumer = AIOKafkaConsumer(**kafka, auto_offset_reset="latest")
        await self._exit.enter_async_context(self._consumer)
        inboxes = [name for name in await self._consumer.topics() if name.endswith(".inbox.v1")]
        partitions = await self._system.partitions([*inboxes, topics.LIFECYCLE.name, topics.OUTCOMES.name])
        self._consumer.assign(partitions)
        for partition in partitions:  # where each begins is known before anything is filed
            await self._consumer.position(partition)
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._following.cancel()
        with suppress(asyncio.CancelledError):
            await self._following
        for task in self._acting:
            task.cancel()
        self._intake.close()
        self._tracking.close()
        await self._exit.aclose()

    # -- what is done

    async def file(self, *, whole: bool, due: float | None = None, of: Sequence[str] = ()) -> Journey:
        """Files the next complaint; its journey goes on by itself.

        Args:
            whole: to its closing; else to where it is relayed.
            due: when it was to be filed, if not now.
            of: texts to choose from instead of those that are relayed.

        Raises:
            Unlike: intake did not accept it.
        """
        number, self._next = self._next, self._next + 1
        submission = workload.submission(number, of or self._texts)
        key = new_id()
        headers = {"X-API-Key": self._key, "Idempotency-Key": key}
        body = submission.model_dump_json(exclude_none=True).encode()
        begun = due or time.monotonic()
        answer = await self._intake.ask(wire.request("POST", "127.0.0.1", "/v1/complaints", headers, body))
        if answer.status != 201:
            raise Unlike(f"intake answered {answer.status}: {answer.body[:300]!r}")
        receipt = json.loads(answer.body)
        journey = self._known.setdefault(receipt["complaint_id"], Journey(whole))
        journey.whole, journey.due, journey.receipt = whole, begun, time.monotonic()
        journey.complaint_id, journey.key, journey.phone = receipt["complaint_id"], key, submission.contact.phone or ""
        journey.reference, journey.access_code = receipt["reference"], receipt["access_code"]
        journey.wanted = len(NOTICES) * sum(bool(one) for one in (submission.contact.email, submission.contact.phone))
        self._advance(journey, journey.receipt)
        return journey

    def _advance(self, journey: Journey, now: float) -> None:
        """What follows from what is known now: topics are read side by side, so that it comes in any order."""
        journey.look(now)
        if journey.whole and journey.relayed.done() and not journey.acknowledged:
            journey.acknowledged = True
            self._act(journey, self._decide(journey, Acknowledge))

    def _act(self, journey: Journey, work: Coroutine[Any, Any, None]) -> None:
        async def done() -> None:
            try:
                await work
            except Exception as error:
                if not journey.end.done():
                    journey.end.set_exception(error)

        task = asyncio.create_task(done())
        self._acting.add(task)
        task.add_done_callback(self._acting.discard)

    async def _decide(self, journey: Journey, kind: type[AdministrationDecision]) -> None:
        fields = {"complaint_id": journey.complaint_id, "administration": journey.holder}
        decision = kind.model_validate(fields | ({"text": workload.ANSWER} if kind is Answer else {}))
        shared = journey.inbox == topics.DESK
        extensions = {"administration": journey.holder} if shared else {}
        topic = topics.OUTBOX.named(journey.inbox).name
        name, key, value, headers = encode(Event(new_id(), "/bench", datetime.now(UTC), decision, topic, extensions))
        await self._producer.send_and_wait(name, value, key=key, headers=headers)

    async def _rate(self, journey: Journey) -> None:
        path = f"/v1/complaints/{journey.reference}/requests"
        headers = {"Access-Code": journey.access_code}
        answer = await self._tracking.ask(
            wire.request("POST", "127.0.0.1", path, headers, b'{"kind": "rate", "score": 4}')
        )
        if answer.status != 202:
            raise Unlike(f"tracking answered {answer.status} to a rating: {answer.body[:300]!r}")

    # -- what is seen

    async def _follow(self) -> None:
        while True:
            polled = await self._consumer.getmany(timeout_ms=500)
            now = time.monotonic()
            for records in polled.values():
                for record in records:
                    self._saw(record, now)

    def _saw(self, record: ConsumerRecord, now: float) -> None:
        headers = dict(record.headers)
        complaint_id, kind = record.key.decode(), headers["ce_type"].decode()
        journey = self._known.get(complaint_id)
        if journey is None:
            journey = self._known[complaint_id] = Journey(False)
        if kind == DossierForwarded.TYPE:
            journey.dossier = now
            journey.inbox = record.topic.split(".")[1]
            journey.holder = headers.get("ce_administration", journey.inbox.encode()).decode()
        elif kind == CaseRouted.TYPE:
            journey.visible = now
        elif kind in (CaseRated.TYPE, CaseClosed.TYPE):
            journey.closed = now
        elif kind == NoticeSent.TYPE:
            journey.notices += 1
        self._advance(journey, now)
        if journey.whole and kind == CaseAcknowledged.TYPE:
            self._act(journey, self._decide(journey, Answer))
        elif journey.whole and kind == CaseAnswered.TYPE:
            self._act(journey, self._rate(journey))

    async def check(self) -> None:
        """Reads some of the complaints as their citizens do.

        Raises:
            Unlike: one that was seen to be relayed is not shown so.
        """
        relayed = [one for one in self._known.values() if one.relayed.done() and one.reference]
        for journey in random.Random(1).sample(relayed, min(SAMPLE, len(relayed))):
            path, headers = f"/v1/complaints/{journey.reference}", {"Access-Code": journey.access_code}
            answer = await self._tracking.ask(wire.request("GET", "127.0.0.1", path, headers))
            state = json.loads(answer.body).get("state") if answer.status == 200 else None
            if state in (None, "received", "triage") or (journey.ended.done() and state != "closed"):
                raise Unlike(f"{journey.reference} was relayed, and tracking shows HTTP {answer.status}, {state}")

    # -- loads

    async def together(self, count: int) -> list[Journey]:
        """So many whole lifecycles at once, to their end.

        Raises:
            Unlike: one did not come to its end.
        """
        journeys = await asyncio.gather(*(self.file(whole=True) for _ in range(count)))
        for journey in journeys:
            await self._ended(journey)
        return journeys

    async def _ended(self, journey: Journey) -> float:
        try:
            return await asyncio.wait_for(journey.end, UNFINISHED_AFTER_S)
        except TimeoutError:
            raise Unlike(f"on its way for {UNFINISHED_AFTER_S:.0f} s: {journey.stands}") from None

    async def closed_loop(self, window: int, ramp_s: float, seconds: float, *, whole: bool) -> tuple[float, int]:
        """Keeps `window` complaints on their way at any time.

        Returns:
            How many came to their end a second, counted for `seconds` after `ramp_s`; and how many were filed.

        Raises:
            Unlike: one did not come to its end, or none did in the time that is counted.
        """
        begun = time.monotonic()
        until, ends = begun + ramp_s + seconds, list[float]()

        async def one_after_the_other() -> None:
            while time.monotonic() < until:
                ends.append(await self._ended(await self.file(whole=whole)))

        await asyncio.gather(*(one_after_the_other() for _ in range(window)))
        counted = sum(begun + ramp_s <= end < until for end in ends)
        if not counted:
            raise Unlike(f"of {len(ends)} complaints, none came to its end within {ramp_s + seconds:.0f} s")
        return counted / seconds, len(ends)

    async def open_loop(self, rate: float, seconds: float, *, whole: bool = False) -> tuple[list[float], list[float]]:
        """Files `rate` a second, at random moments (a Poisson process, the same each time), whatever becomes of them.

        Returns:
            Seconds from the moment at which each was due to its receipt, and to its end; one that had no end within
            90 s after the last counts as that long.
        """
        gaps, at, last = random.Random(50), time.monotonic(), time.monotonic() + seconds
        filings: list[asyncio.Task[Journey]] = []
        while (at := at + gaps.expovariate(rate)) < last:
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            filings.append(asyncio.create_task(self.file(whole=whole, due=at)))
        journeys = await asyncio.gather(*filings)
        await asyncio.wait([one.end for one in journeys], timeout=UNFINISHED_AFTER_S)
        never = time.monotonic()
        ends = [(one.end.result() if one.end.done() else never) - one.due for one in journeys]
        return [one.receipt - one.due for one in journeys], ends
