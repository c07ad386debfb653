"""Routing is killed in the middle of 200 complaints: all arrive at their administration, each once."""

import asyncio
from collections import Counter

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from chikaya_contracts.access import normalised
from chikaya_contracts.envelope import decode
from chikaya_contracts.messages.routing import DossierForwarded
from chikaya_contracts.topics import expand
from chikaya_local.bootstrap import CATALOGUE
from chikaya_local.stack import Stack
from chikaya_sdk import Contact, Intake, Receipt, Submission
from chikaya_servicekit.cli import own_systems

HOW_MANY = 200
KILL_AFTER = 60
TEXT = (
    "Bonjour, ma connexion internet fibre est coupée depuis trois semaines, l'opérateur télécom refuse la résiliation "
    "et continue de facturer 500 dirhams par mois. Cas numéro {number}."
)


async def test_200_complaints_survive_a_kill_of_routing(stack: Stack) -> None:
    receipts = await _file(stack)
    assert len({receipt.reference for receipt in receipts}) == HOW_MANY
    async with asyncio.timeout(120), httpx.AsyncClient(timeout=20) as http:
        routed = await asyncio.gather(*(_history_once_decided(stack, http, receipt) for receipt in receipts))
    decided = Counter(event for history in routed for event in history)
    assert decided["received"] == HOW_MANY
    assert decided["routed"] + decided["triaged"] == HOW_MANY
    copies = await _dossiers(stack, {receipt.complaint_id for receipt in receipts})
    relayed = {receipt.complaint_id for receipt, history in zip(receipts, routed, strict=True) if "routed" in history}
    assert set(copies) == relayed
    assert len(relayed) > HOW_MANY / 2, "the text should be sure enough to need no person"
    assert {len(ids) for ids in copies.values()} == {1}, "one dossier a complaint, whatever its copies"


async def _file(stack: Stack) -> list[Receipt]:
    async with Intake(stack.url("intake"), stack.secrets.channel_keys["app"]) as intake:
        at_once = asyncio.Semaphore(8)
        filed = 0

        async def one(number: int) -> Receipt:
            nonlocal filed
            contact = Contact(name=f"Citoyen {number}", phone=f"+2126010{number:05d}")
            async with at_once:
                receipt = await intake.submit(
                    Submission(text=TEXT.format(number=number), contact=contact, consent=True)
                )
            filed += 1
            if filed == KILL_AFTER:
                stack.kill("routing")
            return receipt

        return await asyncio.gather(*(one(number) for number in range(HOW_MANY)))


async def _history_once_decided(stack: Stack, http: httpx.AsyncClient, receipt: Receipt) -> list[str]:
    url = f"{stack.url('tracking')}/v1/complaints/{receipt.reference}"
    headers = {"Access-Code": normalised(receipt.access_code)}
    await asyncio.sleep(5)  # a first look that comes too early counts as a wrong code
    while True:
        answer = await http.get(url, headers=headers)
        if answer.status_code == 200:
            history = [line["type"] for line in answer.json()["history"]]
            if history[-1] != "received":
                return history
        await asyncio.sleep(2)


async def _dossiers(stack: Stack, wanted: set[str]) -> dict[str, set[str]]:
    """Complaint → ids of its dossiers, over every administration's inbox."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.kafka.bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_plain_username="admin",
        sasl_plain_password=stack.secrets.kafka_admin,
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        inboxes = [topic for topic in expand(own_systems(CATALOGUE), []) if topic.name.endswith(".inbox.v1")]
        partitions = [TopicPartition(inbox.name, p) for inbox in inboxes for p in range(inbox.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: dict[str, set[str]] = {}
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    event = decode(
                        record.topic, record.value, record.headers, {DossierForwarded.TYPE: DossierForwarded}
                    )
                    if event and event.data.complaint_id in wanted:
                        found.setdefault(event.data.complaint_id, set()).add(event.id)
        return found
    finally:
        await consumer.stop()
