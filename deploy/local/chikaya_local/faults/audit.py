"""What must hold for every complaint that was acknowledged, checked against topics, stores and the inbox. No IO."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from chikaya_contracts import states

from chikaya_local.faults.journeys import TOLD, Journey, Told
from chikaya_local.faults.witness import Place

Letters = Mapping[str, Mapping[str, int]]
"""What the inbox holds: recipient → message id (of an SMS: what its idempotency key stands for) → copies."""


@dataclass
class Verdict:
    """Complaints with something lost, doubled or in no order (what it is, by complaint); and what was absorbed.

    `copies` are records that lie twice on a topic with one event id. `overtaken` are lifecycle events that lie on their
    topic behind a later one of the same case: tracking was killed after it had kept them, and said them again when
    their cause came again; whoever reads the topic orders by the sequence. `repeats` are messages that the mail server
    or the SMS gateway was given again under one id.
    """

    lost: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    doubled: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    disordered: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    copies: int = 0
    overtaken: int = 0
    repeats: int = 0

    def add(self, other: "Verdict") -> None:
        """Takes in what another has found."""
        self.lost |= other.lost
        self.doubled |= other.doubled
        self.disordered |= other.disordered
        self.copies += other.copies
        self.overtaken += other.overtaken
        self.repeats += other.repeats


def audit(
    journeys: Iterable[Journey],
    *,
    tracked: Mapping[str, str],
    letters: Letters,
    receipts: Mapping[str, Mapping[str, tuple[str, str]]],
    outcomes_due: bool,
) -> Verdict:
    """Each journey against what was said and kept of it.

    Args:
        tracked: reference → complaint's id, in tracking's store.
        receipts: sender's id → event id → (complaint's id, reference), on the kiosk's topic.
        outcomes_due: the outcomes of notices are expected to be complete; a process that is killed between sending
            and saying so says it up to a minute later.
    """
    verdict = Verdict()
    for journey in journeys:
        one = _Checked(journey, verdict)
        if journey.way == "kiosk":
            one.receipts(receipts.get(journey.key, {}))
        one.filed(tracked)
        one.relayed()
        one.happened()
        one.told(letters)
        if outcomes_due:
            one.outcomes()
        verdict.copies += journey.trail.copies
    return verdict


def dead_letters(found: Mapping[Place, int], undecodable: Collection[Place]) -> Verdict:
    """Each undecodable record is set aside, and nothing else is."""
    verdict = Verdict(copies=sum(found.values()) - len(found))
    for place in undecodable:
        if place not in found:
            verdict.lost[str(place)].append("undecodable, and not among the dead letters")
    for place in found.keys() - set(undecodable):
        verdict.lost[str(place)].append("dead-lettered")
    return verdict


class _Checked:
    def __init__(self, journey: Journey, verdict: Verdict) -> None:
        self._journey, self._trail, self._verdict = journey, journey.trail, verdict
        self._name = journey.complaint_id or journey.key
        for problem in journey.problems:
            self._lost(problem)

    def _lost(self, what: str) -> None:
        self._verdict.lost[self._name].append(what)

    def _doubled(self, what: str) -> None:
        self._verdict.doubled[self._name].append(what)

    def _count(self, what: str, found: int, expected: int = 1) -> None:
        if found < expected:
            self._lost(f"{what}: {found} of {expected}")
        if found > expected:
            self._doubled(f"{what}: {found} of {expected}")

    def receipts(self, found: Mapping[str, tuple[str, str]]) -> None:
        self._count("receipts at the kiosk", len(found))

    def filed(self, tracked: Mapping[str, str]) -> None:
        self._count("submissions", len(self._trail.submitted))
        if not self._journey.reference or tracked.get(self._journey.reference) != self._journey.complaint_id:
            self._lost("not in tracking's store under its reference")

    def relayed(self) -> None:
        decisions = Counter(decision.outcome for decision in self._trail.decisions.values())
        slug = self._journey.administration
        self._count("relays decided", decisions["routed"], 1 if slug else 0)
        self._count("rejections decided", decisions["inadmissible"], 0 if slug else 1)
        self._count("dossiers", len(self._trail.dossiers), 1 if slug else 0)
        relayed_to = {decision.administration for decision in self._trail.decisions.values()} - {None}
        if slug and (relayed_to | set(self._trail.dossiers.values())) - {slug}:
            self._doubled("relayed to another administration")
        numbers = sorted(decision.number for decision in self._trail.decisions.values())
        if numbers != list(range(1, len(numbers) + 1)):
            self._verdict.disordered[self._name].append(f"decisions are numbered {numbers}")

    def happened(self) -> None:
        expected = Counter(self._journey.expected)
        history = sorted(self._trail.history)
        found = Counter(event.type for event in history)
        for type_ in sorted(expected.keys() | found.keys()):
            self._count(f"event {type_}", found[type_], expected[type_])
        pairs = pairwise(self._trail.history)
        self._verdict.overtaken += sum(later.sequence < earlier.sequence for earlier, later in pairs)
        sequences = [event.sequence for event in history]
        if sequences != list(range(1, len(history) + 1)):
            self._verdict.disordered[self._name].append(f"the history is numbered {sequences}")
        state = "start"
        for event in history:
            to = {row.to for row in states.allowed(event.type, state)}
            if event.state not in to and not ("same" in to and event.state == state):
                self._verdict.disordered[self._name].append(f"{event.type} led from {state} to {event.state}")
            state = event.state

    def told(self, letters: Letters) -> None:
        due = sum(event.type in TOLD for event in self._trail.history)
        for by, address in self._journey.means.items():
            found = letters.get(address, {})
            self._count(f"notices by {by}", len(found), due)
            self._verdict.repeats += sum(found.values()) - len(found)

    def outcomes(self) -> None:
        due = {event.id for event in self._trail.history if event.type in TOLD}
        means = self._journey.means
        expected = {Told(event, by, "sent" if by in means else "skipped") for event in due for by in ("email", "sms")}
        found = Counter(self._trail.outcomes.values())
        for missing in expected - found.keys():
            self._lost(f"outcome of a notice by {missing.by}")
        for outcome, count in found.items():
            if outcome not in expected or count > 1:
                self._doubled(f"outcome {outcome.result} by {outcome.by}")
