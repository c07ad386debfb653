"""F2: a raw loop over the records of some topics: poll, parse, send one record for each, await all, commit.

Arguments: how many records there are, the topic to send to, the topics to read. Settings: CHIKAYA_KAFKA_*. Writes one
line of JSON: `records`, and `seconds` from the first poll that gave any.
"""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from chikaya_contracts import messages
from chikaya_servicekit.provisioning import AdminSettings

AT_ONCE = 500


async def run(wanted: int, out: str, topics: Sequence[str]) -> dict[str, float]:
    """Reads `wanted` records."""
    client = AdminSettings().kafka_client()
    consumer = AIOKafkaConsumer(
        *topics,
        **client,
        group_id=f"bench.floor.{uuid.uuid4().hex}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(**client, acks="all", enable_idempotence=True, max_batch_size=256 * 1024)
    await producer.start()
    await consumer.start()
    done, begun = 0, 0.0
    while done < wanted:
        polled = await consumer.getmany(timeout_ms=1_000, max_records=AT_ONCE)
        begun = begun or (time.perf_counter() if polled else 0.0)
        records = [record for some in polled.values() for record in some]
        sent = []
        for record in records:
            model = messages.ALL[dict(record.headers)["ce_type"].decode()]
            value = model.model_validate_json(record.value).model_dump_json(exclude_none=True).encode()
            sent.append(await producer.send(out, value, key=record.key, headers=list(record.headers)))
        if sent:
            await asyncio.gather(*sent)
            await consumer.commit()
        done += len(records)
    took = time.perf_counter() - begun
    await consumer.stop()
    await producer.stop()
    return {"records": done, "seconds": took}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))))
