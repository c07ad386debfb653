"""Twelve complaints by the four ways in, each to its end, through the whole system (what `make smoke` runs)."""

from chikaya_local.demonstration import complaints
from chikaya_local.smoke import smoke
from chikaya_local.stack import Stack
from rich.console import Console


async def test_every_complaint_is_answered_or_rejected_and_its_citizen_told(stack: Stack) -> None:
    console = Console(width=200, record=True)
    figures = await smoke(stack, console)
    shown = console.export_text()
    assert figures["failed"] == 0, shown
    inadmissible = sum(complaint.outcome == "inadmissible" for complaint in complaints())
    assert figures["filed"] == 12, shown
    assert figures["answered"] == 12 - inadmissible, shown


def test_the_demonstration_covers_every_way_language_and_outcome() -> None:
    found = complaints()
    assert len(found) == 12
    assert {complaint.way for complaint in found} == {"web", "app", "callcenter", "kiosk"}
    assert {complaint.outcome for complaint in found} == {None, "triage", "inadmissible"}
    assert any(complaint.submission.place is None for complaint in found)
    texts = [complaint.submission.text for complaint in found]
    assert any("\u0600" <= text[0] <= "\u06ff" for text in texts)
