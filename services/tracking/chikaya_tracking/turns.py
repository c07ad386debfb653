"""Who writes a step of a case says it before who writes the next: topics are read side by side, and an administration's
acknowledgement may be worked while the decision that it answers is still on its way to Kafka.

This holds within a process. Between two, or around a crash, a later event may still come first: consumers order a
history by its `sequence`.
"""

import asyncio
from collections.abc import Collection


class Turn:
    """A place in the order of those who write to some cases."""

    def __init__(self, before: set["asyncio.Future[None]"]) -> None:
        self.said: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._before = before

    async def come(self) -> None:
        """Returns when all who were before have spoken, or have given up."""
        if self._before:
            await asyncio.wait(self._before)


class Turns:
    """The order in one process. A turn is taken after the cases were read and before they are written, so that of two
    who both succeed in writing, the one who wrote first has the earlier turn."""

    def __init__(self) -> None:
        self._last: dict[str, Turn] = {}

    def take(self, complaint_ids: Collection[str]) -> Turn:
        """The next turn for these cases. Every turn that it waits for was taken earlier, so none waits in a circle."""
        turn = Turn({self._last[id].said for id in complaint_ids if id in self._last})
        self._last |= dict.fromkeys(complaint_ids, turn)
        return turn

    def end(self, turn: Turn, complaint_ids: Collection[str]) -> None:
        """Lets those speak who wait for this turn."""
        turn.said.set_result(None)
        for id in complaint_ids:
            if self._last.get(id) is turn:
                del self._last[id]
