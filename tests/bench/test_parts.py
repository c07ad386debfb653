"""What the benchmark is made of: the figures it gives must be those of what was done. No times are taken."""

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from chikaya_contracts import reference
from chikaya_local.bench import commands, printed, sink, wire, workload
from chikaya_local.bench.clones import cloned, clones
from chikaya_local.bench.figures import Part, Plot, Table, percentile, shown
from chikaya_servicekit import paging
from pymongo import InsertOne, MongoClient, UpdateOne

ID = "01931f2e-5b7a-7cc1-9d2e-0242ac120002"
PART = Part(
    "intake",
    (Table("Speed", ("connections", "a second"), (("32 <b>", 1234.5), ("256", None)), "so it is"),),
    (Plot("Speed", "a second", ("32",), {"intake": (1.0,)}),),
)


class TestFigures:
    @pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.99, 10), (0.0, 1), (1.0, 10)])
    def test_a_percentile_is_a_value_that_was_measured(self, share: float, expected: int) -> None:
        assert percentile(list(range(10, 0, -1)), share) == expected

    def test_there_is_none_of_nothing(self) -> None:
        assert math.isnan(percentile([], 0.5))

    @pytest.mark.parametrize(
        ("value", "expected"), [(None, "–"), (0.4567, "0.46"), (45.67, "45.7"), (4567.8, "4,568"), (12, "12")]
    )
    def test_cells_have_the_digits_that_count(self, value: float | None, expected: str) -> None:
        assert shown(value) == expected


class TestClones:
    def test_a_clone_is_one_case_in_every_store(self) -> None:
        ref = reference.make(2026, 12)
        case = {"_id": f"{ID}/1", "reference": ref, "phone": "+212612345678", "at": datetime(2026, 1, 2, tzinfo=UTC)}
        notice = {"_id": 7, "complaint": ID, "text": f"{ref} {ID}"}
        one, other = cloned(case, 3), cloned(notice, 3)
        assert one["_id"] == f"{other['complaint']}/1" != case["_id"]
        assert other["text"] == f"{one['reference']} {other['complaint']}"
        assert reference.parse(one["reference"]) != ref
        assert one["at"] < case["at"]  # type: ignore[operator]

    def test_no_two_clones_are_the_same_case(self) -> None:
        made = list(clones([{"_id": ID, "reference": reference.make(2026, 1), "hash": b"01234567"}], 500))
        for field in ("_id", "reference", "hash"):
            assert len({one[field] for one in made}) == 500

    def test_clones_of_a_row_are_on_all_levels_of_its_skip_list(self) -> None:
        row = {"_id": ID, "queue": paging.key("waiting", f"2026-01-02T03:04:05+00:00 {ID}", ID)}
        levels = [one["queue"].removeprefix("waiting|")[0] for one in clones([row], 5_000)]
        assert 2 < levels.count("2") < levels.count("1") < levels.count("0")


class TestCommands:
    def test_what_is_sent_again_is_what_was_sent(self, database_of: Callable[[str], str], tmp_path: Path) -> None:
        uri, log = database_of("admin"), tmp_path / "commands.bson"
        with (
            log.open("wb", buffering=0) as out,
            MongoClient[dict[str, Any]](uri, event_listeners=[commands.Recorder(out)], w="majority") as client,
        ):
            collection = client["recorded"]["cases"]
            collection.create_index("state")
            collection.bulk_write([InsertOne({"_id": number, "state": "new"}) for number in range(250)])
            collection.bulk_write([UpdateOne({"_id": number}, {"$set": {"state": "old"}}) for number in range(5)])
            assert len(list(collection.find({"state": "new"}, batch_size=20))) == 245
            client.drop_database("recorded")
        seconds, operations = commands.replay(log, uri, "replayed")
        assert seconds > 0
        assert operations == {"insert": 250, "update": 5, "find": 1}
        said = [entry["c"] for entry in commands.recorded(log) if "c" in entry]
        assert all(command["writeConcern"]["w"] == "majority" for command in said if "insert" in command)

    def test_an_entry_that_was_cut_off_is_left_out(self, tmp_path: Path) -> None:
        log = tmp_path / "commands.bson"
        log.write_bytes(b"\x05\x00\x00\x00\x00" * 2 + b"\x05\x00\x00")
        assert len(list(commands.recorded(log))) == 2


class TestWire:
    async def test_answers_that_come_in_pieces_are_put_together(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for body in (b"first", b""):
                await reader.readuntil(b"\r\n\r\n")
                for piece in (b"HTTP/1.1 201 Created\r\nContent-", f"Length: {len(body)}\r\n\r\n".encode(), body):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            connection = await wire.connect("127.0.0.1", server.sockets[0].getsockname()[1])
            asked = wire.request("GET", "127.0.0.1", "/", {})
            assert await connection.ask(asked) == wire.Answer(201, b"first")
            assert await connection.ask(asked) == wire.Answer(201, b"")
            with pytest.raises(ConnectionError):
                await connection.ask(asked)

    async def test_the_sink_takes_mail_after_mail(self) -> None:
        loop = asyncio.get_running_loop()
        async with await loop.create_server(sink.Mail, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert (await reader.readline()).startswith(b"220")
            for _ in range(2):
                writer.write(b"MAIL FROM:<a@b.ma>\r\nRCPT TO:<c@d.ma>\r\nDATA\r\n")
                assert [(await reader.readline())[:3] for _ in range(3)] == [b"250", b"250", b"354"]
                writer.write(b"Subject: QUIT\r\n\r\nQUIT\r\n.\r\n")
                assert (await reader.readline())[:3] == b"250"
            writer.close()


class TestWorkload:
    def test_no_two_complaints_are_of_one_citizen(self) -> None:
        some = [workload.submission(number) for number in range(3_000)]
        assert len({one.contact.name for one in some}) == len(some)

    def test_the_messages_of_a_life_are_of_one_complaint_and_name_its_notices(self) -> None:
        life = workload.life(1, b"key")
        events = [life.submitted, life.routed, *life.decisions, life.rated, *life.lifecycle, *life.outcomes]
        assert len({event.data.key for event in events}) == 1
        assert len({event.id for event in events}) == len(events)
        assert {event.data.event for event in life.outcomes} <= {event.id for event in life.lifecycle}  # type: ignore[attr-defined]


class TestPrinted:
    def test_the_page_stands_alone(self) -> None:
        page = printed.page({"database": "<none>"}, [PART])
        assert "<svg" in page
        assert "32 &lt;b&gt;" in page
        assert "<script" not in page
        assert 'src="http' not in page
        assert 'href="http' not in page

    def test_the_documentation_is_written_between_its_marks(self, tmp_path: Path) -> None:
        file = tmp_path / "performance.md"
        file.write_text(f"before\n{printed.BEGIN}\nold\n{printed.END}\nafter\n", "utf-8")
        printed.in_documentation(file, {"date": "today"}, [PART])
        text = file.read_text("utf-8")
        assert text.startswith("before\n")
        assert text.endswith("\nafter\n")
        assert "| 256 | – |" in text
        assert "old" not in text

    def test_a_page_with_no_marks_is_left_alone(self, tmp_path: Path) -> None:
        file = tmp_path / "other.md"
        file.write_text("text", "utf-8")
        with pytest.raises(ValueError, match="no section"):
            printed.in_documentation(file, {}, [PART])
