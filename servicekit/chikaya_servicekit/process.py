"""A process: a FastAPI application whose lifespan waits for what it needs, consumes, and drains when it ends."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import structlog
import uvicorn
from chikaya_contracts.topics import table
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from faststream.kafka import KafkaBroker

from . import http
from .backoff import LONGEST_DELAY_S, delays
from .clock import Clock, utc_now
from .consuming import Consumer, ConsumerRun
from .faults import TRANSIENT, DependencyDown
from .letters import Letters
from .publishing import KafkaPublisher
from .settings import ServiceSettings
from .telemetry import READY, configure_logs, configure_traces

log = structlog.get_logger()

Action = Callable[[], Awaitable[None]]
PING_TIMEOUT_S = 3.0


class Process:
    """What `bootstrap.build` fills and `serve` runs.

    Args:
        transient: exceptions that mean that something outside is away (the database driver's).
        kafka: false for a process that speaks HTTP only; "optional" for one that is ready without Kafka too: its
            background work begins at once, its consumers when Kafka and their topics are there.
        largest_body: bytes of a request that are read at most.
        uploads: paths that take files, and count for themselves.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        title: str,
        *,
        transient: tuple[type[Exception], ...] = (),
        kafka: bool | Literal["optional"] = True,
        clock: Clock = utc_now,
        largest_body: int = http.LARGEST_BODY,
        uploads: Sequence[str] = (),
    ) -> None:
        self.settings, self.clock = settings, clock
        self.publisher = KafkaPublisher(settings.SERVICE, settings.kafka_client())
        self._letters = Letters(settings.SERVICE, settings.kafka_client())
        self._optional = {"kafka"} if kafka == "optional" else set[str]()
        self._transient = (*TRANSIENT, *transient)
        self._needs: dict[str, Action] = {"kafka": self.publisher.ping} if kafka else {}
        self._setups: list[Action] = []
        self._background: list[Action] = []
        self._stops: list[Action] = []
        self._notes: dict[str, Callable[[], str]] = {}
        self._runs: list[ConsumerRun] = []
        self._broker: KafkaBroker | None = None
        self._reading: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: dict[str, str] = {"start": "starting"}
        # FastAPI's own telemetry would keep paths and what exceptions say, which are personal: `http` has ours.
        self.app: FastAPI = FastAPIOffline(
            title=f"Chikaya {title}",
            version="0.1.0",
            lifespan=self._lifespan,
            telemetry={"tracing": False, "metrics": False, "logs": False},
        )
        http.install(self.app, settings.SERVICE, transient, largest_body, uploads)
        self.app.add_api_route("/livez", self._livez, include_in_schema=False)
        self.app.add_api_route("/readyz", self._readyz, include_in_schema=False)

    def need(self, name: str, ping: Action) -> None:
        """The process waits for `ping` to pass before it consumes, and `/readyz` asks it again."""
        self._needs[name] = ping

    def setup(self, action: Action) -> None:
        """Done once, when all needs are met and before consuming; tried again until it passes."""
        self._setups.append(action)

    def consume(self, consumer: Consumer) -> None:
        """Adds a consumer; it starts when all needs are met and its topics are there."""
        service = self.settings.SERVICE
        self._runs.append(ConsumerRun(consumer, service, self.publisher, self._letters, self.clock, self._transient))

    def background(self, loop: Action) -> None:
        """Runs `loop` for as long as the process lives; one that fails is begun again."""
        self._background.append(loop)

    def note(self, name: str, say: Callable[[], str]) -> None:
        """`/readyz` shows what `say` gives, unless it is empty; the process is ready all the same."""
        self._notes[name] = say

    def on_stop(self, action: Action) -> None:
        """Done last, in the order given."""
        self._stops.append(action)

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(self._start())
        try:
            yield
        finally:
            READY.labels(self.settings.SERVICE).set(0)
            for task in (starting, *self._tasks):
                task.cancel()
            leaving = (run.leave() for run in self._runs)
            await asyncio.gather(starting, *leaving, *self._tasks, return_exceptions=True)
            if self._broker:
                await self._broker.stop()
            await self.publisher.stop()
            for action in self._stops:
                await action()

    async def _start(self) -> None:
        first = {name: ping for name, ping in self._needs.items() if name not in self._optional}
        await self._done_when_met(first, [*self._setups, *([] if self._optional else [self._consume])], "start")
        self._tasks += [asyncio.create_task(self._kept_running(loop)) for loop in self._background]
        # What was made until now stays: the collector need not look through it again, which would hold the loop up.
        gc.collect()
        gc.freeze()
        READY.labels(self.settings.SERVICE).set(1)
        log.info("ready")
        if self._optional:
            await self._done_when_met({name: self._needs[name] for name in self._optional}, [self._consume], "kafka")

    async def _done_when_met(self, needs: dict[str, Action], actions: Sequence[Action], name: str) -> None:
        """Does `actions` when `needs` are met, tried again until they pass; `/readyz` says what is waited for."""
        for delay in delays():
            unmet = await self._unmet(needs)
            self._waiting = unmet or {name: "starting"}
            if not unmet:
                try:
                    for action in actions:
                        await action()
                    self._waiting = {}
                    return
                except self._transient as error:
                    self._waiting = {name: f"{type(error).__name__}: {error}"}
                except Exception as error:
                    log.exception("start failed; tried again")
                    self._waiting = {name: f"{type(error).__name__}"}
            log.info("waiting", **{what: reason[:200] for what, reason in self._waiting.items()})
            await asyncio.sleep(min(delay, 2.0))

    async def _consume(self) -> None:
        if not self._runs:
            return
        service = self.settings.SERVICE
        names = {
            topic.name for topic in table() if not topic.placeholder and service in (*topic.writers, *topic.readers)
        }
        if missing := await self.publisher.missing(names):
            raise DependencyDown(f"topics not there (chikaya topics provision): {', '.join(sorted(missing))}")
        if self._reading is None:
            self._reading = asyncio.create_task(self._kept_running(self._letters.run))
            self._tasks.append(self._reading)
        await self._letters.caught_up()
        broker = KafkaBroker(
            self.settings.kafka_bootstrap.split(","),
            security=self.settings.kafka_broker_security(),
            client_id=self.settings.SERVICE,
            allow_auto_create_topics=False,
            consumer_only=True,
            metadata_max_age_ms=10_000,
            graceful_timeout=15.0,
            logger=None,
        )
        for run in self._runs:
            run.subscribe(broker, self.settings.principal)
        try:
            await broker.start()
        except BaseException:
            await broker.stop()
            raise
        self._broker = broker

    async def _kept_running(self, loop: Action) -> None:
        waits = iter(delays())
        while True:
            begun = time.monotonic()
            try:
                await loop()
                return
            except self._transient as error:
                log.warning("background work held", error=type(error).__name__)
            except Exception:
                log.exception("background work failed; begun again")
            if time.monotonic() - begun > LONGEST_DELAY_S:
                waits = iter(delays())  # it had worked for long: a new trouble, not the old one
            await asyncio.sleep(next(waits))

    async def _unmet(self, needs: dict[str, Action]) -> dict[str, str]:
        async def met(name: str, ping: Action) -> tuple[str, str]:
            try:
                await asyncio.wait_for(ping(), PING_TIMEOUT_S)
            except Exception as error:
                return name, f"{type(error).__name__}: {error}".strip(": ")
            return name, ""

        results = await asyncio.gather(*(met(name, ping) for name, ping in needs.items()))
        return {name: reason for name, reason in results if reason}

    async def _livez(self) -> dict[str, str]:
        return {"status": "alive"}

    async def _readyz(self) -> JSONResponse:
        waiting = dict(self._waiting)
        if waiting.keys() <= self._optional:
            waiting = await self._unmet(self._needs) | waiting
        held = {f"consumer {run.consumer.name}": run.held_by for run in self._runs if run.held_by}
        notes = {name: said for name, say in self._notes.items() if (said := say())}
        if self._optional:
            notes |= held | {name: waiting.pop(name) for name in self._optional & waiting.keys()}
        else:
            waiting |= held
        waiting |= {f"consumer {run.consumer.name}": str(run.stopped) for run in self._runs if run.stopped}
        shown = {"notes": notes} if notes else {}
        READY.labels(self.settings.SERVICE).set(0 if waiting else 1)
        if waiting:
            return JSONResponse({"status": "waiting", "waiting_for": waiting, **shown}, 503)
        return JSONResponse({"status": "ready", **shown})


def serve(process: Process) -> None:
    """Runs a process until SIGTERM or SIGINT; what it has accepted is finished first."""
    settings = process.settings
    configure_logs(settings.SERVICE, settings.log_level)
    configure_traces(settings.SERVICE, settings.otlp_endpoint)
    uvicorn.run(
        process.app,
        host=settings.host,
        port=settings.port,
        # On uvloop, a connection that broke raises what aiokafka does not expect: its client then stands still, unseen.
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
