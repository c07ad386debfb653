"""Metrics of tracking beside those that every process has."""

from prometheus_client import Counter, Gauge

PARKED = Gauge("chikaya_parked", "Messages that wait for a predecessor.")
PARKED_TOO_LONG = Gauge("chikaya_parked_too_long", "Those of them that have waited longer than the setting allows.")
PARKED_OLDEST = Gauge("chikaya_parked_oldest_seconds", "How long the oldest of them has waited; 0 when none waits.")
OVERFLOWED = Counter(
    "chikaya_parked_overflow_total",
    "Decisions refused since too many wait for a complaint nobody submitted.",
    ["topic"],
)
