"""The trained model, read once and off the event loop."""

import asyncio
from pathlib import Path

from chikaya_routing.domain.classifier import ModelUnreadable
from chikaya_routing.domain.judgement import Classifier


class LiveModel:
    """The classifier of a file; there once `load` has returned."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loading: asyncio.Task[Classifier] | None = None

    async def load(self) -> None:
        """Reads the file, if it has not been read.

        Raises:
            ModelUnreadable: says how to make the file.
        """
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(Classifier.load, self._path))
        try:
            # One that asks and leaves (a probe that runs out of time) does not take the reading from the others.
            await asyncio.shield(self._loading)
        except Exception as error:  # whatever a file of another version makes of itself
            self._loading = None
            raise ModelUnreadable(
                f"{error}. Train it: python -m chikaya_routing.train --out {self._path} (CHIKAYA_MODEL_PATH)"
            ) from error

    @property
    def classifier(self) -> Classifier:
        """Raises asyncio.InvalidStateError before `load` has returned: no consumer or route is open until then."""
        if self._loading is None:
            raise asyncio.InvalidStateError("the model is not loaded")
        return self._loading.result()
