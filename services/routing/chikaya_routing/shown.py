"""What is shown of complaints and decisions: plain data for the API, and for templates."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chikaya_contracts.legal_time import deadlines
from chikaya_contracts.messages.routing import (
    ClarificationAsked,
    ComplaintInadmissible,
    ComplaintRouted,
    ComplaintTriaged,
)
from chikaya_servicekit.pages import Pages

from chikaya_routing.domain.catalogue import Edition
from chikaya_routing.domain.features import tokens
from chikaya_routing.domain.routing import Complaint, Recorded
from chikaya_routing.stores import Item

PLACE_CANDIDATES = 8
_WRITTEN = re.compile(r"[^\W_]+(?:['’_-][^\W_]+)*")


class Names:
    """Names in French and Arabic, of administrations and of other outcomes.

    Args:
        pages: whose texts name what is no administration.
    """

    def __init__(self, pages: Pages, edition: Edition) -> None:
        self._pages, self._edition = pages, edition

    def of(self, target: str | None) -> dict[str, str] | None:
        """A slug, `triage:<reason>` or `inadmissible:<reason>`, with its names; None for None."""
        if not target:
            return None
        row = self._edition.find(target)
        if row is not None:
            return {"slug": target, "name_fr": row.name_fr, "name_ar": row.name_ar, "competence": row.competence}
        kind, _, reason = target.partition(":")
        key = ("rejection." if kind == "inadmissible" else "triaged.") + reason
        named = self._pages.texts.get(key, {"fr": target, "ar": target})
        return {"slug": target, "name_fr": named["fr"], "name_ar": named["ar"], "competence": ""}


def judgement(found: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """Why the classifier said what it said; `found` is a `Judgement` as plain data."""
    place = found["place"]
    return {
        "outcome": found["outcome"],
        "administration": names.of(found["administration"]),
        "reason": found["reason"],
        "probability": found["probability"],
        "alternatives": [
            {"target": one["target"], "probability": one["probability"], **_named(names.of(one["target"]))}
            for one in found["alternatives"]
        ],
        "language": found["language"]["language"],
        "language_confidence": found["language"]["confidence"],
        "nature": found["nature"],
        "place": {
            "certainty": place["certainty"],
            "source": place["source"],
            "commune": _commune(place["commune"]),
            "candidates": [_commune(one) for one in place["candidates"][:PLACE_CANDIDATES]],
        },
        "words": [{"word": word, "share": share} for word, share in found["words"]],
        "stage": found["stage"],
        "model_version": found["model_version"],
    }


def _named(row: dict[str, str] | None) -> dict[str, str]:
    return {name: value for name, value in (row or {}).items() if name.startswith("name_")}


def _commune(found: Mapping[str, Any] | None) -> dict[str, str] | None:
    return {name: found[name] for name in ("code", "name_fr", "name_ar")} if found else None


def decision(recorded: Recorded, names: Names, resting: bool = False) -> dict[str, Any]:
    """One decision of a complaint's history. `resting` says that it is not published yet."""
    message = recorded.message
    shown: dict[str, Any] = {
        "decision": message.decision,
        "decided_at": message.decided_at,
        "by": message.by,
        "officer": recorded.officer,
        "probability": message.probability,
        "resting": resting,
        "administration": None,
        "reason": None,
        "question": None,
    }
    match message:
        case ComplaintRouted():
            return {**shown, "outcome": "routed", "administration": names.of(message.administration)}
        case ComplaintInadmissible():
            return {**shown, "outcome": "inadmissible", "reason": message.reason}
        case ClarificationAsked():
            return {**shown, "outcome": "clarification-asked", "question": message.question}
        case ComplaintTriaged():
            return {**shown, "outcome": "triaged", "reason": message.reason}
    raise TypeError(message.TYPE)


def decisions(item: Item, names: Names) -> list[dict[str, Any]]:
    """A complaint's history, oldest first."""
    last = len(item.complaint.decisions)
    return [
        decision(one, names, item.release_at is not None and one.message.decision == last)
        for one in item.complaint.decisions
    ]


def why_here(complaint: Complaint) -> str:
    """Why the complaint came to triage last."""
    reasons = [one.message.reason for one in complaint.decisions if isinstance(one.message, ComplaintTriaged)]
    return reasons[-1] if reasons else ""


def summary(item: Item) -> dict[str, Any]:
    """A line of the queue."""
    submission = item.complaint.submission
    commune = item.judgement["place"]["commune"]
    written = submission.place.text if submission.place else None
    return {
        "complaint_id": submission.complaint_id,
        "reference": submission.reference,
        "received_at": submission.received_at,
        "relay_due": deadlines(submission.received_at).relay,
        "status": item.status,
        "reason": why_here(item.complaint),
        "language": item.judgement["language"]["language"],
        "place": _commune(commune) or ({"code": None, "name_fr": written, "name_ar": written} if written else None),
        "citizen_answered_at": item.answered_at,
        "held_by": item.held_by,
        "held_until": item.held_until,
    }


def detail(item: Item, names: Names) -> dict[str, Any]:
    """A complaint whole, as the officer who settles it needs it."""
    complaint, submission = item.complaint, item.complaint.submission
    return {
        **summary(item),
        "channel": submission.channel,
        "declared_nature": submission.nature,
        "text": submission.text,
        "supplements": [{"at": one.at, "text": one.text} for one in complaint.supplements],
        "contact": submission.contact.model_dump(mode="json", exclude_none=True),
        "attachments": [one.model_dump(mode="json") for one in submission.attachments],
        "wished": names.of(submission.administration_wished),
        "proposed": names.of(complaint.proposed),
        "last_holder": names.of(complaint.holders[-1] if complaint.holders else None),
        "judgement": judgement(item.judgement, names),
        "decisions": decisions(item, names),
        "release_at": item.release_at,
    }


def marked(text: str, weighed: Iterable[str]) -> Sequence[tuple[str, bool]]:
    """`text` in pieces, each with whether it is a word that weighed in the decision."""
    wanted = set(weighed)
    pieces: list[tuple[str, bool]] = []
    at = 0
    for found in _WRITTEN.finditer(text):
        if wanted.isdisjoint(tokens(found[0])):
            continue
        pieces += [(text[at : found.start()], False), (found[0], True)]
        at = found.end()
    return [piece for piece in [*pieces, (text[at:], False)] if piece[0]]
