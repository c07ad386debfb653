"""The process itself: it listens at once and says what it waits for, and what helps."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from chikaya_routing.domain.classifier import ModelUnreadable
from chikaya_routing.model import LiveModel
from chikaya_servicekit.faults import DependencyDown


async def test_it_listens_at_once_and_says_what_it_waits_for(
    mongo_uri: str, database: str, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    settings = {
        "CHIKAYA_PORT": str(port),
        "CHIKAYA_KAFKA_BOOTSTRAP": "127.0.0.1:9",
        "CHIKAYA_MONGO_URI": mongo_uri,
        "CHIKAYA_MONGO_DATABASE": database,
        "CHIKAYA_MODEL_PATH": str(tmp_path / "none.npz"),
        "CHIKAYA_OIDC_CLIENT_SECRET": "c" * 32,
        "CHIKAYA_SESSION_SECRET": "s" * 32,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chikaya_routing.app", env=os.environ | settings, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
            waits = await _until(lambda: _waits_for(http))
            assert "python -m chikaya_routing.train --out" in waits["model"]
            assert "chikaya catalogue import" in waits["catalogue"]
            assert "mongo" not in waits
            assert (await http.get("/livez")).status_code == 200
            assert (await http.post("/v1/classify", json={"text": "Une rue sans lumière"})).status_code == 503
            assert (await http.get("/v1/administrations")).headers["Retry-After"]
            sign_in = await http.get("/triage", headers={"Accept": "text/html"})
            assert sign_in.headers["location"] == "/login?next=%2Ftriage"
            assert (await http.get("/v1/triage")).status_code == 401
        process.terminate()
        await asyncio.wait_for(process.wait(), 15)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _waits_for(http: httpx.AsyncClient) -> dict[str, str] | None:
    try:
        found: dict[str, str] = (await http.get("/readyz")).json()["waiting_for"]
    except httpx.TransportError:
        return None
    return found if "catalogue" in found else None


async def _until(asked: Callable[[], Any]) -> Any:
    async with asyncio.timeout(30):
        while not (found := await asked()):
            await asyncio.sleep(0.1)
    return found


async def test_a_model_that_cannot_be_read_is_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    model = LiveModel(path)
    with pytest.raises(DependencyDown):
        _ = model.classifier
    for content in (None, b"no archive"):
        if content:
            path.write_bytes(content)
        with pytest.raises(ModelUnreadable, match="Train it"):
            await model.load()
    with pytest.raises(DependencyDown):
        _ = model.places


async def test_a_trained_model_is_read_once_whoever_asks(artefact: Path) -> None:
    model = LiveModel(artefact)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(model.load(), 0)
    await asyncio.gather(model.load(), model.load())
    first = model.classifier
    await model.load()
    assert model.classifier is first
    assert model.places.find("rabat", 1)[0].commune.name_fr == "Rabat"
