"""Those who act in a fault run: citizens, a kiosk, a triage officer, administrations with systems of their own.

They behave as real ones do: a request that broke is sent again with the same key, an answer that says `Retry-After` is
obeyed, a record is sent until Kafka has acknowledged it. What each does next follows from what the topics say.
"""

import asyncio
import json
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from time import monotonic
from typing import Any

import aiohttp
import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata
from chikaya_contracts import topics
from chikaya_contracts.envelope import Event, Headers, Message, encode
from chikaya_contracts.ids import consequence_id
from chikaya_contracts.messages.administration import Acknowledge, AdministrationDecision, Answer, AskCitizen
from chikaya_contracts.messages.channel import ChannelSubmission

from chikaya_local.faults.journeys import Journey
from chikaya_local.login import SignInFailed, token_for
from chikaya_local.stack import Stack

CONNECTIONS = 12
"""To each service."""
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=20)
AWAY = (aiohttp.ClientError, TimeoutError, httpx.TransportError)
ACKNOWLEDGED_WITHIN_MS = 10_000
GOODBYE_S = 2.0
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0
SERVICES = ("intake", "routing", "tracking", "notification")
OFFICER = "triage@chikaya.local"
KIOSK = "kiosk"


class Unexpected(Exception):
    """An answer that no client should get; says which, without what was sent."""


class Sender:
    """A Kafka user that writes: each record is sent until it is acknowledged. The same record may arrive twice, with
    the same event id."""

    def __init__(self, client: dict[str, Any]) -> None:
        self._client = client
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()

    async def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> RecordMetadata:
        """Returns when every replica in sync has it."""
        while True:
            producer = None
            try:
                producer = await self._started()
                return await (await producer.send(topic, value, key=key, headers=headers))
            except (KafkaError, OSError):
                await self._replace(producer)
                await asyncio.sleep(0.3)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._client, acks="all", enable_idempotence=True, request_timeout_ms=ACKNOWLEDGED_WITHIN_MS
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def _replace(self, producer: AIOKafkaProducer | None) -> None:
        """After a failure the idempotent producer's numbering is in doubt: the next send begins with a new one."""
        if producer is not None and producer is self._producer:
            self._producer = None
            ending = asyncio.create_task(_leave(producer))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Leaves."""
        if self._producer is not None:
            await _leave(self._producer)
        await asyncio.gather(*self._ending)


async def _leave(producer: AIOKafkaProducer) -> None:
    with suppress(KafkaError, TimeoutError):
        await asyncio.wait_for(producer.stop(), GOODBYE_S)


class Parties:
    """Everybody of one run.

    Args:
        client: arguments of an aiokafka client, by principal.
        administrations: those with a system of their own.
    """

    def __init__(
        self, stack: Stack, client: Callable[[str], dict[str, Any]], administrations: list[str], rng: random.Random
    ) -> None:
        self._stack, self._rng = stack, rng
        connections = aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS)
        self._http = aiohttp.ClientSession(connector=connections, timeout=TIMEOUT)
        self.kiosk = Sender(client(f"channel-{KIOSK}"))
        self.administrations = {slug: Sender(client(slug)) for slug in administrations}
        self._token: str | None = None
        self._signing_in = asyncio.Lock()
        self._at_work: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stops what is under way."""
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)
        await self._http.close()
        await asyncio.gather(*(sender.close() for sender in (self.kiosk, *self.administrations.values())))

    # -- filing

    def file(self, journey: Journey, known: Callable[[Journey], None]) -> None:
        """Files a complaint, in the background. `known` is called when its id is known."""
        journey.filed_at = monotonic()
        file = self._file_at_the_kiosk if journey.way == "kiosk" else self._file_by_app
        self._begin(journey, file(journey, known))

    async def _file_by_app(self, journey: Journey, known: Callable[[Journey], None]) -> None:
        receipt = await self._http_until(
            "POST",
            f"{self._stack.url('intake')}/v1/complaints",
            data=journey.body.encode(),
            headers={
                "X-API-Key": self._stack.secrets.channel_keys["app"],
                "Idempotency-Key": journey.key,
                "Content-Type": "application/json",
            },
        )
        journey.acknowledged_at = monotonic()
        _receipt(journey, receipt)
        known(journey)

    async def _file_at_the_kiosk(self, journey: Journey, known: Callable[[Journey], None]) -> None:
        submission = json.loads(journey.body)
        event: Event[Message] = Event(
            id=consequence_id(journey.key, ChannelSubmission.TYPE),
            source=f"/channel/{KIOSK}",
            time=datetime.now(UTC),
            data=ChannelSubmission(sender_id=journey.key, submission=submission),
            topic=topics.CHANNEL_SUBMISSIONS.named(KIOSK).name,
        )
        await self.kiosk.send(*encode(event))
        journey.acknowledged_at = monotonic()
        known(journey)

    # -- what follows

    def go_on(self, journey: Journey) -> None:
        """Lets whoever has to do the next thing with a complaint do it, in the background, each thing once."""
        trail = journey.trail
        if trail.has("triaged") and not trail.has("routed", "rejected"):
            self._once(journey, "settle", self._settle)
        if trail.dossiers:
            self._once(journey, "acknowledge", lambda one: self._decide(one, Acknowledge, ""))
            if journey.asked and trail.has("acknowledged"):
                self._once(journey, "ask", lambda one: self._decide(one, AskCitizen, "Pouvez-vous préciser la date ?"))
            if trail.replies_forwarded if journey.asked else trail.has("acknowledged"):
                self._once(journey, "answer", lambda one: self._decide(one, Answer, "Votre dossier a été traité."))
        if not journey.access_code:
            return
        if trail.has("question-asked"):
            self._once(journey, "reply", lambda one: self._request(one, kind="answer-question", text="Depuis un mois."))
        if trail.has("answered"):
            self._once(journey, "rate", lambda one: self._request(one, kind="rate", score=4))

    def read_receipt(self, journey: Journey, known: Callable[[Journey], None]) -> None:
        """The kiosk asks for the receipt with the access code, in the background, once there is one on its topic."""

        async def read(journey: Journey) -> None:
            url = f"{self._stack.url('intake')}/v1/receipts/{journey.key}"
            key = {"X-API-Key": self._stack.secrets.channel_keys[KIOSK]}
            _receipt(journey, await self._http_until("GET", url, headers=key))
            known(journey)

        self._once(journey, "read receipt", read)

    async def visible(self, journey: Journey) -> bool:
        """Whether tracking shows the citizen a case that has been relayed."""
        url = f"{self._stack.url('tracking')}/v1/complaints/{journey.reference}"
        case = await self._http_until("GET", url, headers={"Access-Code": journey.access_code})
        return bool(case["state"] not in ("received", "triage"))

    async def not_ready(self) -> list[str]:
        """The services that do not say that they can work."""

        async def ready(service: str) -> bool:
            try:
                async with self._http.get(f"{self._stack.url(service)}/readyz") as answer:
                    return answer.ok
            except AWAY:
                return False

        answers = await asyncio.gather(*map(ready, SERVICES))
        return [service for service, is_ready in zip(SERVICES, answers, strict=True) if not is_ready]

    async def _settle(self, journey: Journey) -> None:
        decision: dict[str, Any] = {"action": "reject", "reason": "court"}
        if journey.administration:
            decision = {"action": "route", "administration": journey.administration}
        url = f"{self._stack.url('routing')}/v1/triage/{journey.complaint_id}/decision"
        # 409: an earlier try, whose answer was lost, has settled it.
        await self._http_until("POST", url, json=decision, staff=True, also_fine=(409,))

    async def _request(self, journey: Journey, **asked: Any) -> None:
        url = f"{self._stack.url('tracking')}/v1/complaints/{journey.reference}/requests"
        key = f"{journey.key}-{asked['kind']}"
        await self._http_until(
            "POST", url, json=asked, headers={"Access-Code": journey.access_code, "Idempotency-Key": key}
        )

    async def _decide(self, journey: Journey, kind: type[AdministrationDecision], text: str) -> None:
        dossier, slug = next(iter(journey.trail.dossiers.items()))
        about = {"complaint_id": journey.complaint_id, "administration": slug}
        event: Event[Message] = Event(
            id=consequence_id(dossier, kind.TYPE),
            source=f"/administration/{slug}",
            time=datetime.now(UTC),
            data=kind.model_validate(about | ({"text": text} if text else {})),
            topic=topics.OUTBOX.named(slug).name,
        )
        await self.administrations[slug].send(*encode(event))

    # -- how

    def _once(self, journey: Journey, step: str, act: Callable[[Journey], Coroutine[Any, Any, None]]) -> None:
        if step not in journey.steps:
            journey.steps.add(step)
            self._begin(journey, act(journey))

    def _begin(self, journey: Journey, work: Coroutine[Any, Any, None]) -> None:
        async def noted() -> None:
            try:
                await work
            except Exception as error:
                journey.problems.append(f"{type(error).__name__}: {error}")

        task = asyncio.create_task(noted())
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    async def _http_until(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        staff: bool = False,
        also_fine: tuple[int, ...] = (),
        **body: Any,
    ) -> dict[str, Any]:
        """The answer, after as many tries as it takes.

        Raises:
            Unexpected: the answer is neither a success, nor one that asks to come again.
        """
        pause = SHORTEST_PAUSE_S
        while True:
            wait = pause * self._rng.uniform(0.5, 1.0)
            pause = min(pause * 2, LONGEST_PAUSE_S)
            try:
                token = await self._signed_in() if staff else None
                asking = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
                async with self._http.request(method, url, headers=asking, **body) as answer:
                    status, said = answer.status, await answer.read()
            except (*AWAY, SignInFailed):
                await asyncio.sleep(wait)
                continue
            if status < 300 or status in also_fine:
                return dict(json.loads(said))
            if staff and status == HTTPStatus.UNAUTHORIZED:
                self._token = None  # the provider has forgotten its tokens
            elif status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
                wait = float(answer.headers.get("Retry-After", wait))
            else:
                raise Unexpected(f"{method} {url.split('/', 3)[-1].split('/')[1]}: HTTP {status}")
            await asyncio.sleep(wait)

    async def _signed_in(self) -> str:
        async with self._signing_in:
            if self._token is None:
                self._token = await asyncio.to_thread(
                    token_for,
                    self._stack.url("identity"),
                    "routing",
                    self._stack.secrets.oidc_clients["routing"],
                    f"{self._stack.url('routing')}/login/callback",
                    OFFICER,
                )
            return self._token


def _receipt(journey: Journey, receipt: dict[str, Any]) -> None:
    journey.complaint_id, journey.reference = receipt["complaint_id"], receipt["reference"]
    journey.access_code = receipt["access_code"]
