"""Logs (JSON, no personal data), metrics (Prometheus) and traces (OpenTelemetry) of a process."""

import logging
import sys
import traceback
from collections.abc import Sequence

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Histogram(
    "chikaya_http_request_seconds", "Duration of HTTP requests.", ["service", "method", "route", "status"]
)
RECORDS = Counter("chikaya_records_total", "Kafka records consumed.", ["service", "consumer", "topic", "outcome"])
BATCHES = Histogram("chikaya_batch_seconds", "Duration of one batch, effect and publication.", ["service", "consumer"])
RETRIES = Counter("chikaya_retries_total", "Batches tried again since something was away.", ["service", "consumer"])
OPEN_LETTERS = Gauge("chikaya_open_dead_letters", "Dead letters that are neither replayed nor discarded.", ["service"])
PUBLISHED = Counter("chikaya_published_total", "Messages acknowledged by Kafka.", ["service", "topic"])
READY = Gauge("chikaya_ready", "1 when the process had all it waits for, when /readyz last asked.", ["service"])

tracer = trace.get_tracer("chikaya")
_propagator = TraceContextTextMapPropagator()


def configure_logs(service: str, level: str) -> None:
    """One JSON object a line on standard output, for this process's logs and its libraries' warnings."""
    shared: Sequence[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_without_values),
    ]
    as_json = structlog.processors.JSONRenderer(ensure_ascii=False)
    # Ours go straight to the stream: by way of `logging` a line costs three times as much, and there is one a request.
    structlog.configure(
        processors=[*shared, as_json],
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, as_json],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # One line a request to a broker that is away; readiness says the same once.
    for noisy in ("aiokafka", "faststream", "httpx", "httpcore", "pymongo", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _without_values(exc_info: structlog.typing.ExcInfo) -> str:
    """What was raised where, down to its causes, without what it says: validation and database errors quote what
    people wrote."""
    parts: list[str] = []
    error: BaseException | None = exc_info[1]
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kind = type(error)
        parts.append(f"{kind.__module__}.{kind.__qualname__}\n{''.join(traceback.format_tb(error.__traceback__))}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "from ".join(parts)


def configure_traces(service: str, otlp_endpoint: str) -> None:
    """Gives every trace its ids, which records carry on; without an endpoint, spans are ids and no more."""
    provider = TracerProvider(
        sampler=ParentBased(ALWAYS_ON) if otlp_endpoint else ALWAYS_OFF,
        resource=Resource.create({"service.name": service}),
    )
    if otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(otlp_endpoint)))
    trace.set_tracer_provider(provider)


def traceparent() -> str | None:
    """The current span as a W3C `traceparent`, to be carried in a record's headers."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent")


def linked_to(parent: str | None) -> trace.Link | None:
    """A link to the span that a record's `traceparent` names."""
    if not parent:
        return None
    span = trace.get_current_span(_propagator.extract({"traceparent": parent}))
    return trace.Link(span.get_span_context())


def child_of(parent: str | None) -> Context | None:
    """The context in which a request that brought a `traceparent` goes on."""
    return _propagator.extract({"traceparent": parent}) if parent else None
