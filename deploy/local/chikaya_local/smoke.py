"""`make smoke`: twelve real complaints by the four ways in, through the stack that runs, each to its end.

Each is filed, relayed (or settled in triage, or rejected), acknowledged, answered, read by the citizen and rated; the
notices that were sent are read in the inbox. Prints how long each step took; the last line is JSON.
"""

import argparse
import asyncio
import html
import json
import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from chikaya_contracts.messages.routing import DossierForwarded
from chikaya_contracts.submission import Contact, Submission
from chikaya_sdk import Administration, Dossier, Intake, KafkaChannel, SubmissionAccepted
from chikaya_sdk.tracking import Case, Tracking
from rich.console import Console
from rich.table import Table

from chikaya_local.demonstration import Complaint, complaints
from chikaya_local.errors import CannotStart
from chikaya_local.login import token_for
from chikaya_local.programs import Ports
from chikaya_local.stack import Stack
from chikaya_local.up import default_directory

STEPS = ("filed", "decided", "relayed", "acknowledged", "answered", "read", "rated", "notified")
WITHIN_S = 120.0
ANSWER = "Votre dossier a été traité ce jour. · تمت معالجة ملفكم اليوم."
QUESTION = "Pouvez-vous préciser la date ? · المرجو تحديد التاريخ."
REPLY = "Depuis le 1er du mois. · منذ بداية الشهر."
T = TypeVar("T")


class Failed(Exception):
    """A step did not come about; says which, and of which complaint."""


@dataclass
class Journey:
    """One complaint on its way; `seconds` are from when it was begun to the end of each step."""

    complaint: Complaint
    submission: Submission
    begun: float = 0.0
    complaint_id: str = ""
    reference: str = ""
    access_code: str = ""
    administration: str | None = None
    by: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    problem: str = ""

    def reached(self, step: str) -> None:
        """Notes that a step is done now."""
        self.seconds[step] = time.monotonic() - self.begun


async def until(what: str, look: Callable[[], Awaitable[T | None]], within_s: float = WITHIN_S) -> T:
    """Looks again and again until something is there.

    Raises:
        Failed: it did not come in time.
    """
    deadline, pause = time.monotonic() + within_s, 0.2
    while (found := await look()) is None:
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {within_s:.0f} s")
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, 1.0)
    return found


class Smoke:
    """The ways in, the administrations' systems, the officers and the citizens of one run."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.run = secrets.token_hex(3)
        self._tracking = Tracking(stack.url("tracking"))
        self._http = httpx.AsyncClient(timeout=20)
        self._dossiers: dict[str, asyncio.Future[Dossier]] = {}
        self._tokens: dict[tuple[str, str], str] = {}
        self._exit = AsyncExitStack()
        self._systems: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Smoke":
        await self._exit.enter_async_context(self._tracking)
        await self._exit.enter_async_context(self._http)
        kafka = self.stack.kafka_env("channel-kiosk")
        kiosk = KafkaChannel("kiosk", kafka["KAFKA_BOOTSTRAP"], kafka["KAFKA_USER"], kafka["KAFKA_PASSWORD"])
        self._kiosk = await self._exit.enter_async_context(kiosk)
        known = json.loads((self.stack.directory / "kafka-credentials.json").read_text("utf-8"))
        for slug in {one.administration for one in complaints() if one.administration} & set(known):
            system = Administration(slug, self.stack.kafka.bootstrap, slug, known[slug])
            await self._exit.enter_async_context(system)
            self._systems.append(asyncio.create_task(self._receive(system)))
        self._own_systems = set(known)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._systems:
            task.cancel()
        await asyncio.gather(*self._systems, return_exceptions=True)
        await self._exit.aclose()

    async def _receive(self, system: Administration) -> None:
        async for item in system.inbox():
            if isinstance(item.data, DossierForwarded):
                self._dossier(item.complaint_id).set_result(item)

    def _dossier(self, complaint_id: str) -> "asyncio.Future[Dossier]":
        future = self._dossiers.get(complaint_id)
        if future is None or future.done():
            future = self._dossiers[complaint_id] = asyncio.get_running_loop().create_future()
        return future

    async def _token(self, site: str, sub: str) -> str:
        if (site, sub) not in self._tokens:
            self._tokens[site, sub] = await asyncio.to_thread(
                token_for,
                self.stack.url("identity"),
                site,
                self.stack.secrets.oidc_clients[site],
                f"{self.stack.url(site)}/login/callback",
                sub,
            )
        return self._tokens[site, sub]

    def journey(self, complaint: Complaint) -> Journey:
        """A journey with addresses of its own, so that its notices can be told from those of other runs."""
        contact = complaint.submission.contact
        own = Contact(
            name=contact.name,
            email=contact.email and contact.email.replace("@", f"+{self.run}@"),
            phone=contact.phone and f"+2126{int(self.run, 16) % 10**6:06d}{contact.phone[-2:]}",
        )
        return Journey(complaint, complaint.submission.model_copy(update={"contact": own}))

    async def go(self, journey: Journey) -> None:
        """The whole way.

        Raises:
            Failed: see `until`.
        """
        journey.begun = time.monotonic()
        await getattr(self, f"_file_by_{journey.complaint.way}")(journey)
        journey.reached("filed")
        case = await until("a decision", lambda: self._in_state(journey, "triage", "routed", "rejected"))
        journey.reached("decided")
        journey.by = case.state
        if journey.complaint.outcome == "triage" and case.state != "triage":
            raise Failed(f"it must go to triage, and is {case.state}")
        if case.state == "triage":
            case = await self._settle(journey)
        if case.state == "rejected":
            if journey.complaint.outcome != "inadmissible":
                raise Failed("it was rejected")
        else:
            journey.administration = case.administration.slug if case.administration else None
            await self._be_answered(journey)
        await self._be_notified(journey)
        journey.reached("notified")

    # -- four ways in

    async def _file_by_app(self, journey: Journey) -> None:
        async with Intake(self.stack.url("intake"), self.stack.secrets.channel_keys["app"]) as intake:
            receipt = await intake.submit(journey.submission)
        journey.complaint_id, journey.reference = receipt.complaint_id, receipt.reference
        journey.access_code = receipt.access_code

    async def _file_by_kiosk(self, journey: Journey) -> None:
        sender_id = await self._kiosk.submit(journey.submission)
        receipt = await self._kiosk.receipt_of(sender_id, timeout=60)
        if not isinstance(receipt, SubmissionAccepted):
            raise Failed(f"refused: {receipt.errors}")
        async with Intake(self.stack.url("intake"), self.stack.secrets.channel_keys["kiosk"]) as intake:
            again = await intake.receipt(sender_id)
        journey.complaint_id, journey.reference = receipt.complaint_id, receipt.reference
        journey.access_code = again.access_code

    async def _file_by_web(self, journey: Journey) -> None:
        async with httpx.AsyncClient(base_url=self.stack.url("portal"), timeout=30, follow_redirects=True) as browser:
            await self._file_by_form(browser, journey)

    async def _file_by_callcenter(self, journey: Journey) -> None:
        async with httpx.AsyncClient(
            base_url=self.stack.url("callcenter"), timeout=30, follow_redirects=True, headers={"Accept": "text/html"}
        ) as browser:
            asked = await browser.get("/file")
            await browser.post(asked.url, data={"sub": "agent@chikaya.local"})
            await self._file_by_form(browser, journey)

    async def _file_by_form(self, browser: httpx.AsyncClient, journey: Journey) -> None:
        """As a person does with a browser and no JavaScript: fill in, check, send, read the receipt."""
        contact = journey.submission.contact
        page = await browser.get("/file")
        fields = {
            **_hidden(page.text),
            "nature": journey.submission.nature,
            "text": journey.submission.text,
            "commune": journey.complaint.place_name,
            "name": contact.name,
            "email": contact.email or "",
            "phone": contact.phone or "",
            "language": journey.submission.language,
            "consent": "yes",
        }
        origin = {"Origin": str(browser.base_url).rstrip("/")}
        checked = await browser.post("/file/check", data=fields, headers=origin)
        if checked.status_code == 422 and (place := journey.submission.place):
            # Several communes bear a name like it: the page offers them.
            fields |= {**_hidden(checked.text), "commune_code": place.commune or ""}
            checked = await browser.post("/file/check", data=fields, headers=origin)
        receipt = await browser.post("/file", data=_hidden(checked.text), headers=origin)
        found = re.search(r'class="reference[^"]*">\s*([\d ]{14,})<', receipt.text)
        code = re.search(r"\b([0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4})\b", receipt.text)
        if receipt.status_code != 200 or not found or not code:
            raise Failed(f"no receipt after the form: HTTP {receipt.status_code} {receipt.url.path}")
        journey.reference, journey.access_code = found[1].replace(" ", ""), code[1]

    # -- what follows

    async def _case(self, journey: Journey) -> Case | None:
        answer = await self._http.get(
            f"{self.stack.url('tracking')}/v1/complaints/{journey.reference}",
            headers={"Access-Code": journey.access_code},
        )
        return Case.model_validate(answer.json()) if answer.status_code == 200 else None

    async def _in_state(self, journey: Journey, *states: str) -> Case | None:
        case = await self._case(journey)
        if case is None or case.state not in states:
            return None
        journey.complaint_id = journey.complaint_id or case.complaint_id
        return case

    async def _settle(self, journey: Journey) -> Case:
        """A triage officer decides; the decision rests for the time in which it can be undone."""
        headers = {"Authorization": f"Bearer {await self._token('routing', 'triage@chikaya.local')}"}
        decision = (
            {"action": "reject", "reason": "court"}
            if journey.complaint.outcome == "inadmissible"
            else {"action": "route", "administration": journey.complaint.administration}
        )
        url = f"{self.stack.url('routing')}/v1/triage/{journey.complaint_id}/decision"
        answer = await self._http.post(url, json=decision, headers=headers)
        if answer.status_code >= 300:
            raise Failed(f"triage: HTTP {answer.status_code} {answer.text[:300]}")
        return await until("triage's decision", lambda: self._in_state(journey, "routed", "rejected"))

    async def _be_answered(self, journey: Journey) -> None:
        asks = journey.complaint.id == "oncf-train"
        decide = self._by_own_system if journey.administration in self._own_systems else self._by_desk
        await decide(journey, "acknowledge")
        await until("the acknowledgement", lambda: self._in_state(journey, "acknowledged"))
        journey.reached("acknowledged")
        if asks:
            await decide(journey, "ask", QUESTION)
            await until("the question", lambda: self._in_state(journey, "waiting_for_citizen"))
            await self._tracking.request(journey.reference, journey.access_code, "answer-question", REPLY)
            await until("the reply", lambda: self._in_state(journey, "in_progress"))
        await decide(journey, "answer", ANSWER)
        case = await until("the answer", lambda: self._in_state(journey, "answered"))
        journey.reached("answered")
        if ANSWER not in [line.text for line in case.history]:
            raise Failed("the citizen cannot read the answer")
        journey.reached("read")
        await self._tracking.request(journey.reference, journey.access_code, "rate", score=4)
        await until("the rating", lambda: self._in_state(journey, "closed"))
        journey.reached("rated")

    async def _by_own_system(self, journey: Journey, action: str, text: str | None = None) -> None:
        dossier = await asyncio.wait_for(asyncio.shield(self._held(journey)), WITHIN_S)
        journey.seconds.setdefault("relayed", time.monotonic() - journey.begun)
        decide: Any = getattr(dossier, action)
        await (decide(text) if text else decide())

    def _held(self, journey: Journey) -> "asyncio.Future[Dossier]":
        known = self._dossiers.get(journey.complaint_id)
        return known if known is not None else self._dossier(journey.complaint_id)

    async def _by_desk(self, journey: Journey, action: str, text: str | None = None) -> None:
        token = await self._token("desk", f"officer.{journey.administration}@chikaya.local")
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self.stack.url('desk')}/v1/dossiers/{journey.complaint_id}"

        async def there() -> bool | None:
            return (await self._http.get(url, headers=headers)).status_code == 200 or None

        await until("the dossier at the desk", there)
        journey.seconds.setdefault("relayed", time.monotonic() - journey.begun)
        body = {"action": action, **({"text": text} if text else {})}
        answer = await self._http.post(f"{url}/decisions", json=body, headers=headers)
        if answer.status_code >= 300:
            raise Failed(f"desk, {action}: HTTP {answer.status_code} {answer.text[:300]}")

    async def _be_notified(self, journey: Journey) -> None:
        """The citizen has been sent a receipt, and what became of the complaint, by each means that they gave."""
        contact = journey.submission.contact
        wanted = 2 if journey.administration is None else 3  # receipt and rejection; receipt, relay and answer
        for kind, to in (("email", contact.email), ("sms", contact.phone)):
            if not to:
                continue

            async def sent(kind: str = kind, to: str = str(to)) -> bool | None:
                query = {"kind": kind, "to": to}
                found = (await self._http.get(f"{self.stack.url('inbox')}/api/messages", params=query)).json()
                return len(found["messages"]) >= wanted or None

            await until(f"{wanted} notices by {kind}", sent)


def _hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page's forms, as a browser would send them."""
    found: dict[str, str] = {}
    for tag in re.findall(r"<input\b[^>]*>", page):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if attributes.get("type") == "hidden" and "name" in attributes:
            found[attributes["name"]] = html.unescape(attributes.get("value", ""))
    return found


async def smoke(stack: Stack, console: Console) -> dict[str, Any]:
    """Runs all journeys side by side; gives the figures of the last line."""
    begun = time.monotonic()
    async with Smoke(stack) as run:
        journeys = [run.journey(complaint) for complaint in complaints()]

        async def one(journey: Journey) -> None:
            try:
                await run.go(journey)
            except Exception as error:
                journey.problem = f"{type(error).__name__}: {error}"

        with console.status("Twelve complaints on their way …"):
            await asyncio.gather(*(one(journey) for journey in journeys))
    console.print(_table(journeys))
    return {
        "filed": sum("filed" in journey.seconds for journey in journeys),
        "routed": sum("relayed" in journey.seconds for journey in journeys),
        "answered": sum("rated" in journey.seconds for journey in journeys),
        "rejected": sum(journey.by == "rejected" for journey in journeys),
        "failed": sum(bool(journey.problem) for journey in journeys),
        "seconds": round(time.monotonic() - begun, 2),
    }


def _table(journeys: list[Journey]) -> Table:
    table = Table(title="Seconds from filing to each step")
    for heading in ("complaint", "way", "first", "administration", *STEPS):
        table.add_column(heading, justify="right" if heading in STEPS else "left")
    for journey in journeys:
        times = [f"{journey.seconds[step]:.2f}" if step in journey.seconds else "–" for step in STEPS]
        table.add_row(journey.complaint.id, journey.complaint.way, journey.by, journey.administration or "–", *times)
        if journey.problem:
            table.add_row("", "[red]failed[/]", f"[red]{journey.problem}[/]")
    return table


def main() -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="make smoke", description=__doc__)
    parser.add_argument("--port-offset", type=int, default=0, help="as given to make up")
    parser.add_argument("--dir", type=Path, default=default_directory(), help="as given to make up")
    options = parser.parse_args()
    console = Console(width=160 if not sys.stdout.isatty() else None)
    try:
        stack = Stack(options.dir, Ports(options.port_offset))
        httpx.get(f"{stack.url('intake')}/livez", timeout=5).raise_for_status()
    except (CannotStart, httpx.HTTPError) as error:
        where = Ports(options.port_offset).url("intake")
        console.print(
            f"[red]Nothing answers at {where}: run make up first, in another terminal ({type(error).__name__}).[/]"
        )
        return 1
    figures = asyncio.run(smoke(stack, console))
    print(json.dumps(figures))
    return 1 if figures["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
