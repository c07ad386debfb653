"""Each service's user reaches its own database and no other's; what was acknowledged survives kill -9."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chikaya_local.stack import Stack
from pymongo import MongoClient
from pymongo.errors import OperationFailure

UNAUTHORISED = 13
Client = MongoClient[dict[str, Any]]


@pytest.fixture
def routing(servers: Stack) -> Iterator[Client]:
    with Client(servers.mongo.uri("intake")) as intake:
        intake.intake.private.replace_one({"_id": 1}, {"text": "seen by intake only"}, upsert=True)
    with Client(servers.mongo.uri("routing")) as client:
        yield client


@pytest.mark.parametrize(
    "attempt",
    [
        lambda client: client.intake.private.find_one(),
        lambda client: client.intake.private.count_documents({}),
        lambda client: client.intake.private.insert_one({}),
        lambda client: client.intake.private.delete_many({}),
        lambda client: client.intake.list_collection_names(),
        lambda client: client.drop_database("intake"),
        lambda client: list(client.routing.own.aggregate([{"$merge": {"into": {"db": "intake", "coll": "private"}}}])),
        lambda client: client.admin.command("usersInfo", 1),
        lambda client: client.routing.command("createUser", "other", pwd="x", roles=[]),
    ],
)
def test_a_user_is_kept_out_of_a_siblings_database(routing: Client, attempt: Callable[[Client], Any]) -> None:
    with pytest.raises(OperationFailure) as refused:
        attempt(routing)
    assert refused.value.code == UNAUTHORISED


def test_a_user_reads_and_writes_its_own_database(routing: Client) -> None:
    routing.routing.own.replace_one({"_id": 1}, {"x": 1}, upsert=True)
    assert routing.routing.own.find_one() == {"_id": 1, "x": 1}


def test_nobody_is_let_in_without_a_password(servers: Stack) -> None:
    with (
        Client("127.0.0.1", servers.ports.mongo, directConnection=True) as anonymous,
        pytest.raises(OperationFailure),
    ):
        anonymous.intake.private.find_one()


def test_what_was_acknowledged_survives_kill_9(servers: Stack) -> None:
    with Client(servers.mongo.uri("desk")) as client:
        client.desk.kept.insert_many([{"_id": number} for number in range(500)])
        old = servers.kill("mongo")
        servers.mongo.wait_ready()
        assert servers.pid("mongo") != old
        assert client.desk.kept.count_documents({}) == 500
