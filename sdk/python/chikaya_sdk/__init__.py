"""For who plugs into Chikaya: channel teams submit complaints, administrations receive dossiers and answer them.

HTTP: `Intake`, `Tracking`, `Routing`. Kafka: `KafkaChannel`, `Administration`, `Desk`. All are async context
managers; every error is a `ChikayaError` whose class says what can be done.
"""

from chikaya_contracts.messages.channel import FieldError, SubmissionAccepted, SubmissionRefused
from chikaya_contracts.submission import Contact, Place, Submission

from .administration import Administration, Desk, Dossier, FollowUp
from .broker import Security, UndecodableRecord
from .channel import ChannelReceipt, KafkaChannel
from .errors import ChikayaError, Conflict, NotAllowed, NotFound, Refused, TooManyTries, Unavailable
from .intake import Intake, Link, Receipt
from .routing import CatalogueEntry, Commune, Routing
from .tracking import Asked, Case, ListedCase, Page, Tracking

__all__ = [
    "Administration",
    "Asked",
    "Case",
    "CatalogueEntry",
    "ChannelReceipt",
    "ChikayaError",
    "Commune",
    "Conflict",
    "Contact",
    "Desk",
    "Dossier",
    "FieldError",
    "FollowUp",
    "Intake",
    "KafkaChannel",
    "Link",
    "ListedCase",
    "NotAllowed",
    "NotFound",
    "Page",
    "Place",
    "Receipt",
    "Refused",
    "Routing",
    "Security",
    "Submission",
    "SubmissionAccepted",
    "SubmissionRefused",
    "TooManyTries",
    "Tracking",
    "Unavailable",
    "UndecodableRecord",
]
