"""A collection on the server that MONGO_URI names, or on a server of our own.

MONGO_URI names a database in its path, and a user who may read and write it, as each service has.
"""

import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase

USER = "contract"

Documents = AsyncIOMotorCollection[dict[str, Any]]


@pytest.fixture(scope="session")
def mongo_uri(database_of: Callable[[str], str]) -> str:
    """The shared database server, as the user `contract`."""
    return database_of(USER)


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
