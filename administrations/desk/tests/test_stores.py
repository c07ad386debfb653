"""One suite for both stores: what is kept reads back the same, lists are in order, nobody's write is lost."""

import asyncio
from dataclasses import replace
from typing import Any

from chikaya_desk.adapters.dossiers import Listed
from chikaya_desk.domain.dossier import decide, sent


class TestDossiers:
    async def test_what_is_kept_reads_back_the_same(self, dossiers: Any, make: Any) -> None:
        made = make.made("answer", text="C'est réparé.\nMerci. شكرا")
        await dossiers.receive(
            [make.forwarded(), make.told("supplemented", 3, text="Vite"), make.refused("started", 4)]
        )
        written = await dossiers.change(make.key, lambda file: sent(decide(file, made), made.id))
        assert written.version == 2
        assert await dossiers.find(make.key) == written
        assert written.standing.state == "answered"

    async def test_a_redelivered_batch_changes_nothing(self, dossiers: Any, make: Any) -> None:
        batch = [make.forwarded(), make.told("supplemented", 3), make.told("withdrawn", 4)]
        await dossiers.receive(batch)
        once = await dossiers.find(make.key)
        await dossiers.receive(batch)
        await dossiers.receive(batch[1:])
        assert await dossiers.find(make.key) == once
        assert once.version == 1

    async def test_a_follow_up_before_its_dossier_is_kept_and_not_listed(self, dossiers: Any, make: Any) -> None:
        await dossiers.receive([make.told("reopened", 8, answer_due=make.day(100))])
        assert await dossiers.find(make.key) is None
        assert await dossiers.page("habous", None, None, 10) == []
        assert await dossiers.by_reference("habous", make.reference) is None
        await dossiers.receive([make.forwarded()])
        [row] = await dossiers.page("habous", "todo", None, 10)
        assert (row.state, row.answer_due) == ("reopened", make.day(100))

    async def test_a_list_is_paged_by_deadline(self, dossiers: Any, make: Any) -> None:
        due = {1: 40, 2: 20, 3: 40, 4: 30, 5: 20}
        await dossiers.receive([make.another(n).forwarded(answer_due=make.day(at)) for n, at in due.items()])
        await dossiers.receive([replace_administration(make.another(9).forwarded(), "oncf")])

        async def numbers(group: Any) -> list[int]:
            found: list[Listed] = []
            while page := await dossiers.page("habous", group, found[-1].position if found else None, 2):
                found += page
            return [int(row.complaint_id[-12:]) for row in found]

        assert await numbers("todo") == [2, 5, 4, 1, 3]
        assert await numbers(None) == [3, 1, 4, 5, 2]
        assert await numbers("done") == []

    async def test_a_dossier_moves_from_list_to_list(self, dossiers: Any, make: Any) -> None:
        await dossiers.receive([make.forwarded()])
        for action, group in (("ask", "waiting"), ("answer", "done")):
            made = make.made(action, text="…")
            await dossiers.change(make.key, lambda file, made=made: sent(decide(file, made), made.id))
            assert [bool(await dossiers.page("habous", g, None, 5)) for g in ("todo", "waiting", "done", None)] == [
                False, group == "waiting", group == "done", True,
            ]  # fmt: skip

    async def test_a_line_holds_what_the_list_shows(self, dossiers: Any, make: Any) -> None:
        await dossiers.receive([make.forwarded(text="Le toit " * 60, place=None)])
        [row] = await dossiers.page("habous", "todo", None, 5)
        assert (row.reference, row.nature, row.commune, row.place) == (make.reference, "complaint", None, None)
        assert row.excerpt.endswith("…")
        assert len(row.excerpt) <= 161
        assert (row.answer_due, row.received_at) == (make.day(60), make.day(0))

    async def test_a_dossier_is_found_by_its_reference_by_its_own_administration_only(
        self, dossiers: Any, make: Any
    ) -> None:
        await dossiers.receive([make.forwarded()])
        assert (await dossiers.by_reference("habous", make.reference)).complaint_id == make.complaint_id
        assert await dossiers.by_reference("oncf", make.reference) is None
        assert await dossiers.find(("oncf", make.complaint_id)) is None

    async def test_writers_at_once_lose_nothing(self, dossiers: Any, make: Any) -> None:
        await dossiers.receive([make.forwarded()])
        await asyncio.gather(
            *(dossiers.receive([make.told("supplemented", n), make.another(2).forwarded(n)]) for n in range(3, 9))
        )
        file = await dossiers.find(make.key)
        assert sorted(entry.sequence for entry in file.entries[1:]) == [3, 4, 5, 6, 7, 8]
        assert len((await dossiers.find(make.another(2).key)).entries) == 6

    async def test_a_batch_of_many_dossiers(self, dossiers: Any, make: Any) -> None:
        await dossiers.receive([make.another(n).forwarded() for n in range(1, 251)])
        assert len(await dossiers.page("habous", "todo", None, 300)) == 250


def replace_administration(event: Any, slug: str) -> Any:
    return replace(event, data=event.data.model_copy(update={"administration": slug}))


class TestAdministrations:
    async def test_the_latest_import_of_a_row_is_kept(self, administrations: Any, make: Any) -> None:
        await administrations.keep([make.listed("oncf", "ONCF", version=2), make.listed("habous", "Habous")])
        await administrations.keep([make.listed("oncf", "Ancien", version=1), make.listed("habous", "Le ministère")])
        rows = {row.slug: row.name_fr for row in await administrations.all()}
        assert rows == {"oncf": "ONCF", "habous": "Le ministère"}
