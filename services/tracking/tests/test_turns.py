"""Of two who write to one case, the first to write is the first to speak."""

import asyncio

from chikaya_tracking.turns import Turns


async def test_who_wrote_later_waits_for_who_wrote_before() -> None:
    turns, said = Turns(), list[str]()
    first, second, other = turns.take(["x", "y"]), turns.take(["y"]), turns.take(["z"])

    async def speak() -> None:
        await second.come()
        said.append("second")
        turns.end(second, ["y"])

    speaking = asyncio.create_task(speak())
    await other.come()  # about another case: at once
    await asyncio.sleep(0)
    assert said == []
    said.append("first")
    turns.end(first, ["x", "y"])
    await speaking
    assert said == ["first", "second"]


async def test_nothing_is_kept_of_turns_that_have_ended() -> None:
    turns = Turns()
    first, second = turns.take(["x"]), turns.take(["x"])
    turns.end(second, ["x"])
    turns.end(first, ["x"])
    await turns.take(["x"]).come()


async def test_turns_over_the_same_cases_in_another_order_never_wait_in_a_circle() -> None:
    turns = Turns()

    async def work(ids: list[str], rounds: int) -> None:
        for _ in range(rounds):
            turn = turns.take(ids)
            try:
                await asyncio.sleep(0)
                await turn.come()
            finally:
                turns.end(turn, ids)

    async with asyncio.timeout(10):
        await asyncio.gather(*(work(ids, 50) for ids in (["a", "b"], ["b", "a"], ["b", "c"], ["c", "a", "b"])))
