"""Accepting submissions, however they arrive: in batches, each once for its sender and key."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.intake import Attachment
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.faults import DependencyDown

from .domain import references
from .domain.acceptance import Complaint, Filing, Secrets, Sender, accept, is_repetition
from .domain.attachments import UNCLAIMED_FOR
from .stores import Attachments, Complaints


@dataclass(frozen=True, slots=True)
class KeyReused:
    """The sender's key belongs to another submission."""


@dataclass(frozen=True, slots=True)
class AttachmentsUnknown:
    """These attachments do not exist, are another channel's, or accompany another complaint."""

    ids: tuple[str, ...]


Outcome = Complaint | KeyReused | AttachmentsUnknown


class References:
    """Gives out reference numbers of the blocks that this process leases."""

    def __init__(self, complaints: Complaints, block_size: int) -> None:
        self._complaints, self._block_size = complaints, block_size
        self._blocks: dict[int, references.Block] = {}
        self._one_at_a_time = asyncio.Lock()

    async def take(self, year: int, count: int) -> list[str]:
        """`count` references of `year` that nobody else has."""
        async with self._one_at_a_time:
            taken, rest = self._blocks.get(year, references.Block(year, 0, 0)).take(count)
            if (more := count - len(taken)) > 0:
                size = max(more, self._block_size)
                first = await self._complaints.lease(year, size)
                others, rest = references.Block(year, first, first + size).take(more)
                taken += others
            self._blocks[year] = rest
            return taken


class Reception:
    """Turns filings into complaints."""

    def __init__(
        self, complaints: Complaints, attachments: Attachments, secrets: Secrets, clock: Clock, block_size: int
    ) -> None:
        self._complaints, self._attachments = complaints, attachments
        self._secrets, self._clock = secrets, clock
        self._references = References(complaints, block_size)

    async def accept(self, filing: Filing) -> Outcome:
        """One filing."""
        return (await self.accept_many([filing]))[0]

    async def accept_many(self, filings: Sequence[Filing]) -> list[Outcome]:
        """What becomes of each filing; when this returns, what is accepted is kept.

        A repeated key gives the same complaint again, within the batch too.
        """
        outcomes: dict[int, Outcome] = {}
        pending = list(range(len(filings)))
        while pending:
            # Of filings with one key, the first decides what the next ones are compared with.
            wave: dict[object, int] = {}
            for index in pending:
                wave.setdefault(filings[index].sender or index, index)
            chosen = list(wave.values())
            results = await self._accept_different([filings[index] for index in chosen])
            outcomes.update(zip(chosen, results, strict=True))
            pending = [index for index in pending if index not in outcomes]
        return [outcomes[index] for index in range(len(filings))]

    async def _accept_different(self, filings: Sequence[Filing]) -> list[Outcome]:
        """The same for filings of which no two have one key."""
        kept = await self._known(filings)
        new = [index for index, filing in enumerate(filings) if filing.sender is None or filing.sender not in kept]
        fresh = dict(zip(new, await self._complaints_of([filings[index] for index in new]), strict=True))
        lost = await self._complaints.add([one for one in fresh.values() if isinstance(one, Complaint)])
        if lost:
            # Another request with the same key was quicker.
            raced = [filings[index] for index, one in fresh.items() if isinstance(one, Complaint) and one.id in lost]
            kept |= await self._known(raced)
            if any(filing.sender is None or filing.sender not in kept for filing in raced):
                raise DependencyDown("a complaint that was there a moment ago is gone")
        return [
            _compared(filing, kept[filing.sender]) if filing.sender and filing.sender in kept else fresh[index]
            for index, filing in enumerate(filings)
        ]

    async def _known(self, filings: Sequence[Filing]) -> dict[Sender, Complaint]:
        senders = {filing.sender for filing in filings if filing.sender}
        return dict(await self._complaints.sent_by(senders)) if senders else {}

    async def _complaints_of(self, filings: Sequence[Filing]) -> list[Outcome]:
        """Each filing with its own id, attachments and reference; not kept yet."""
        ids = [new_id() for _ in filings]
        files: list[tuple[Attachment, ...] | AttachmentsUnknown] = [
            await self._claimed(filing, complaint_id) if filing.submission.attachments else ()
            for filing, complaint_id in zip(filings, ids, strict=True)
        ]
        years = [references.year_of(filing.received_at) for filing in filings]
        wanted = [year for year, found in zip(years, files, strict=True) if not isinstance(found, AttachmentsUnknown)]
        numbers = {year: iter(await self._references.take(year, wanted.count(year))) for year in sorted(set(wanted))}
        now = self._clock()
        return [
            found
            if isinstance(found, AttachmentsUnknown)
            else accept(
                filing,
                complaint_id=complaint_id,
                reference=next(numbers[year]),
                attachments=found,
                accepted_at=now,
                secrets=self._secrets,
            )
            for filing, complaint_id, year, found in zip(filings, ids, years, files, strict=True)
        ]

    async def _claimed(self, filing: Filing, complaint_id: str) -> tuple[Attachment, ...] | AttachmentsUnknown:
        wanted = list(dict.fromkeys(filing.submission.attachments))
        # The key claims, where there is one: a retry after a crash finds its own claim.
        claimant = f"key {filing.key}" if filing.key else f"complaint {complaint_id}"
        since = self._clock() - UNCLAIMED_FOR
        claimed = await self._attachments.claim(filing.channel, wanted, claimant, since)
        found = {file.id: file for file in claimed}
        if missing := [id_ for id_ in wanted if id_ not in found]:
            return AttachmentsUnknown(tuple(missing))
        return tuple(found[id_] for id_ in wanted)


def _compared(filing: Filing, kept: Complaint) -> Outcome:
    return kept if is_repetition(filing, kept) else KeyReused()
