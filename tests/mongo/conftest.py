"""A collection on the server that MONGO_URI names, or on a server of our own.

MONGO_URI names a database in its path, and a user who may read and write it, as each service has.
"""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase

PORT = 22110
USER = "contract"

Documents = AsyncIOMotorCollection[dict[str, Any]]


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    named = os.environ.get("MONGO_URI")
    if named:
        yield named
        return
    from chikaya_local.mongo import Mongo

    local = Path(__file__).parents[2] / ".local"
    server = Mongo(
        tmp_path_factory.mktemp("mongo"),
        port=PORT,
        passwords={"admin": uuid.uuid4().hex, USER: uuid.uuid4().hex},
        cache=Path(os.environ.get("CHIKAYA_LOCAL_CACHE") or local / "cache"),
    )
    with server.running():
        yield server.uri(USER)


@pytest.fixture(scope="session")
async def database(mongo_uri: str) -> AsyncIterator[AsyncIOMotorDatabase[dict[str, Any]]]:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        mongo_uri, tz_aware=True, uuidRepresentation="standard", serverSelectionTimeoutMS=8000
    )
    yield client.get_default_database(USER)
    client.close()


@pytest.fixture
async def documents(database: AsyncIOMotorDatabase[dict[str, Any]]) -> AsyncIterator[Documents]:
    """An empty collection, gone afterwards."""
    collection = database[f"c_{uuid.uuid4().hex}"]
    yield collection
    await collection.drop()
