"""Accepting submissions, however they arrive: in groups, each once for its sender and key."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from chikaya_contracts.ids import new_id
from chikaya_contracts.messages.intake import Attachment
from chikaya_servicekit.clock import Clock
from chikaya_servicekit.faults import DependencyDown

from .domain import references
from .domain.acceptance import Complaint, Filing, Secrets, Sender, accept, is_repetition
from .domain.attachments import UNCLAIMED_FOR
from .outbox import Outbox
from .stores import Attachments, Complaints


@dataclass(frozen=True, slots=True)
class KeyReused:
    """The sender's key belongs to another submission."""


@dataclass(frozen=True, slots=True)
class AttachmentsUnknown:
    """These attachments do not exist, are another channel's, or accompany another complaint."""

    ids: tuple[str, ...]


Outcome = Complaint | KeyReused | AttachmentsUnknown

GROUP_AT_MOST = 256
"""Filings in one write, unless one batch of a channel has more."""
ARRIVED_AT_MOST = 4_096
"""Filings that may wait for a write; more would wait longer than who sent them does."""


@dataclass(frozen=True, slots=True)
class _Arrival:
    """Filings that arrived together, and where what becomes of them is awaited."""

    filings: Sequence[Filing]
    results: asyncio.Future[list[Outcome | Exception]]


class ReferenceTaken(Exception):
    """Another complaint has the reference that the counter gave: the counter is not what it was. Nobody is given it."""


class References:
    """Gives out reference numbers of the blocks that this process leases."""

    def __init__(self, complaints: Complaints, block_size: int) -> None:
        self._complaints, self._block_size = complaints, block_size
        self._blocks: dict[int, references.Block] = {}
        self._unused: dict[int, list[str]] = {}

    async def take(self, year: int, count: int) -> list[str]:
        """`count` references of `year` that nobody else has. By one caller at a time."""
        unused = self._unused.get(year, [])
        taken, self._unused[year] = unused[:count], unused[count:]
        others, rest = self._blocks.get(year, references.Block(year, 0, 0)).take(count - len(taken))
        taken += others
        if (more := count - len(taken)) > 0:
            size = max(more, self._block_size)
            first = await self._complaints.lease(year, size)
            others, rest = references.Block(year, first, first + size).take(more)
            taken += others
        self._blocks[year] = rest
        return taken

    def give_back(self, year: int, reference: str) -> None:
        """It certainly names no complaint."""
        self._unused[year].append(reference)


class Reception:
    """Turns filings into complaints.

    What arrives while a group is being written is the next group: at rest a filing goes at once, under load the groups
    grow.
    """

    def __init__(
        self,
        outbox: Outbox,
        complaints: Complaints,
        attachments: Attachments,
        secrets: Secrets,
        clock: Clock,
        block_size: int,
    ) -> None:
        self._outbox, self._complaints, self._attachments = outbox, complaints, attachments
        self._secrets, self._clock = secrets, clock
        self._references = References(complaints, block_size)
        self._arrived: deque[_Arrival] = deque()
        self._filings_arrived = 0
        self._writing: asyncio.Task[None] | None = None

    async def accept(self, filing: Filing) -> Outcome:
        """One filing."""
        return (await self.accept_many([filing]))[0]

    async def accept_many(self, filings: Sequence[Filing]) -> list[Outcome]:
        """What becomes of each filing; when this returns, what is accepted is kept and will be relayed.

        A repeated key gives the same complaint again, within the batch too.

        Raises:
            DependencyDown: too many wait for the database; nothing of these was done.
            ReferenceTaken: see there.
            Exception: the store's. Nothing is confirmed; the same filings with the same keys may be sent again.
        """
        if not filings:
            return []
        if self._filings_arrived >= ARRIVED_AT_MOST:
            raise DependencyDown("the database does not keep up")
        arrival = _Arrival(filings, asyncio.get_running_loop().create_future())
        self._arrived.append(arrival)
        self._filings_arrived += len(filings)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_groups())
        results = await arrival.results
        outcomes = [result for result in results if not isinstance(result, BaseException)]
        if len(outcomes) < len(results):
            raise next(result for result in results if isinstance(result, BaseException))
        return outcomes

    async def _write_groups(self) -> None:
        try:
            while self._arrived:
                group = [self._arrived.popleft()]
                size = len(group[0].filings)
                while self._arrived and size + len(self._arrived[0].filings) <= GROUP_AT_MOST:
                    group.append(self._arrived.popleft())
                    size += len(group[-1].filings)
                self._filings_arrived -= size
                results = iter(await self._accept_group([filing for arrival in group for filing in arrival.filings]))
                for arrival in group:
                    own = list(islice(results, len(arrival.filings)))
                    if not arrival.results.done():  # whoever waited may have gone
                        arrival.results.set_result(own)
        finally:
            self._writing = None

    async def _accept_group(self, filings: Sequence[Filing]) -> list[Outcome | Exception]:
        outcomes: dict[int, Outcome | Exception] = {}
        pending = list(range(len(filings)))
        while pending:
            # Of filings with one key, the first decides what the next ones are compared with.
            wave: dict[object, int] = {}
            for index in pending:
                wave.setdefault(filings[index].sender or index, index)
            chosen = list(wave.values())
            try:
                results = await self._accept_different([filings[index] for index in chosen])
            except Exception as error:
                return [outcomes.get(index, error) for index in range(len(filings))]
            outcomes.update(zip(chosen, results, strict=True))
            pending = [index for index in pending if index not in outcomes]
        return [outcomes[index] for index in range(len(filings))]

    async def _accept_different(self, filings: Sequence[Filing]) -> list[Outcome | Exception]:
        """What becomes of filings of which no two have one key.

        A key is looked up before the write only where attachments would be claimed for it: most are new, and that one
        is not is seen by the write.
        """
        kept = await self._known(filing for filing in filings if filing.submission.attachments)
        new = [index for index, filing in enumerate(filings) if filing.sender is None or filing.sender not in kept]
        fresh = dict(zip(new, await self._complaints_of([filings[index] for index in new]), strict=True))
        clashes = await self._outbox.keep([one for one in fresh.values() if isinstance(one, Complaint)])
        for index, one in fresh.items():
            if isinstance(one, Complaint) and (clash := clashes.get(one.id)):
                if clash == "key":
                    self._references.give_back(references.year_of(filings[index].received_at), one.message.reference)
                    fresh[index] = DependencyDown("a complaint that was there a moment ago is gone")
                else:
                    fresh[index] = ReferenceTaken(one.message.reference)
        kept |= await self._known(filings[index] for index, one in fresh.items() if isinstance(one, DependencyDown))
        return [
            _compared(filing, kept[filing.sender]) if filing.sender and filing.sender in kept else fresh[index]
            for index, filing in enumerate(filings)
        ]

    async def _known(self, filings: Iterable[Filing]) -> dict[Sender, Complaint]:
        senders = {filing.sender for filing in filings if filing.sender}
        return dict(await self._complaints.sent_by(senders)) if senders else {}

    async def _complaints_of(self, filings: Sequence[Filing]) -> list[Outcome | Exception]:
        """Each filing with its own id, attachments and reference; not kept yet."""
        ids = [new_id() for _ in filings]
        files = [
            await self._claimed(filing, complaint_id) if filing.submission.attachments else ()
            for filing, complaint_id in zip(filings, ids, strict=True)
        ]
        years = [references.year_of(filing.received_at) for filing in filings]
        wanted = [year for year, found in zip(years, files, strict=True) if not isinstance(found, AttachmentsUnknown)]
        numbers = {year: iter(await self._references.take(year, wanted.count(year))) for year in sorted(set(wanted))}
        return [
            found
            if isinstance(found, AttachmentsUnknown)
            else self._complaint_of(filing, complaint_id, next(numbers[year]), found)
            for filing, complaint_id, year, found in zip(filings, ids, years, files, strict=True)
        ]

    def _complaint_of(
        self, filing: Filing, complaint_id: str, reference: str, files: tuple[Attachment, ...]
    ) -> Complaint | Exception:
        try:
            return accept(
                filing,
                complaint_id=complaint_id,
                reference=reference,
                attachments=files,
                accepted_at=self._clock(),
                secrets=self._secrets,
            )
        except Exception as error:  # a submission that nobody foresaw: its neighbours are not harmed
            return error

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
