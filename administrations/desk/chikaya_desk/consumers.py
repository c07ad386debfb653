"""Topics → domain: dossiers and follow-ups of all administrations that the desk serves, and the catalogue."""

from chikaya_contracts import topics
from chikaya_servicekit.consuming import Consumer

from .adapters.dossiers import Dossiers
from .catalogue import Catalogue


def consumers(dossiers: Dossiers, catalogue: Catalogue) -> list[Consumer]:
    """Who reads what."""
    return [
        Consumer("inbox", [topics.INBOX.named(topics.DESK)], dossiers.receive, max_records=100),
        Consumer("catalogue", [topics.CATALOGUE], catalogue.apply),
    ]
