"""What staff may ask: what a citizen has been told."""

from datetime import datetime
from typing import Annotated

from chikaya_contracts.submission import NoticeLanguage
from chikaya_servicekit.staff import Person, Staff
from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel

from .domain.matrix import Means
from .domain.notices import Notice, NoticeState
from .stores import Notices


class NoticeShown(BaseModel):
    """A notice, without address or words. `state`: waiting (for the contact), pending (`due` says when it is tried
    next), sent, failed, skipped; `at` is when it came to its end."""

    id: str
    event: str
    notice: str
    by: Means
    language: NoticeLanguage | None
    state: NoticeState
    attempts: int
    due: datetime | None
    at: datetime | None
    reason: str | None


class NoticesShown(BaseModel):
    """A complaint's notices, oldest first."""

    complaint_id: str
    notices: list[NoticeShown]


def router(store: Notices, staff: Staff) -> APIRouter:
    """The routes of notification."""
    routes = APIRouter(prefix="/v1", tags=["notices"])
    allowed = staff.require("agent", "operator", "coordinator")

    @routes.get("/notices/{complaint_id}", summary="What a citizen has been told, when, and by which means")
    async def of(
        complaint_id: Annotated[str, Path(max_length=60)], person: Annotated[Person, Depends(allowed)]
    ) -> NoticesShown:
        """For agents, operators and coordinators. No addresses. Nothing yet for a complaint is an empty list."""
        found = await store.of(complaint_id)
        return NoticesShown(complaint_id=complaint_id, notices=[_shown(notice) for notice in found])

    return routes


def _shown(notice: Notice) -> NoticeShown:
    return NoticeShown(
        id=notice.id,
        event=notice.event,
        notice=notice.notice,
        by=notice.by,
        language=notice.language,
        state=notice.state,
        attempts=notice.attempts,
        due=notice.due if notice.state == "pending" else None,
        at=notice.ended_at,
        reason=notice.reason,
    )
