"""What can go wrong outside a process, by name."""

from aiokafka.errors import KafkaError


class DependencyDown(Exception):
    """Something that this process needs is away: the work is tried again later, without limit; over HTTP, 503."""


class TooLarge(ValueError):
    """A message that is larger than Kafka takes: sent again, it fails again."""


class DeadLettersExceeded(Exception):
    """Too many records in a row failed for good: an outage, not bad data. The consumer stops where it is."""


TRANSIENT: tuple[type[Exception], ...] = (DependencyDown, KafkaError, ConnectionError)
"""What always means "away"; a process adds its database's own (`Process(transient=...)`)."""
