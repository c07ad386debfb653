"""F1: a bare route that validates the body of `POST /v1/complaints` and awaits one `acks=all` send; nothing else.

Settings: CHIKAYA_BENCH_PORT, CHIKAYA_BENCH_TOPIC, and CHIKAYA_KAFKA_* as every process has them.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from aiokafka import AIOKafkaProducer
from chikaya_contracts.submission import Submission
from chikaya_servicekit.provisioning import AdminSettings
from fastapi import FastAPI


def application(topic: str) -> FastAPI:
    """The application; `topic` is where it sends."""
    producer: AIOKafkaProducer

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal producer
        producer = AIOKafkaProducer(**AdminSettings().kafka_client(), acks="all", enable_idempotence=True)
        await producer.start()
        yield
        await producer.stop()

    app = FastAPI(lifespan=lifespan)

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/complaints", status_code=201)
    async def file(submission: Submission) -> dict[str, bool]:
        await producer.send_and_wait(topic, submission.model_dump_json(exclude_none=True).encode())
        return {"sent": True}

    return app


if __name__ == "__main__":
    # As `chikaya_servicekit.process.serve` runs every service.
    uvicorn.run(
        application(os.environ["CHIKAYA_BENCH_TOPIC"]),
        host="127.0.0.1",
        port=int(os.environ["CHIKAYA_BENCH_PORT"]),
        log_config=None,
        access_log=False,
        server_header=False,
    )
