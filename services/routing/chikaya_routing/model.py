"""The trained model and the gazetteer, read once and off the event loop."""

import asyncio
from pathlib import Path

from chikaya_servicekit.faults import DependencyDown

from chikaya_routing.domain.classifier import ModelUnreadable
from chikaya_routing.domain.judgement import Classifier
from chikaya_routing.domain.place_search import PlaceSearch


class LiveModel:
    """The classifier of a file; there once `load` has returned."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loading: asyncio.Task[tuple[Classifier, PlaceSearch]] | None = None

    async def load(self) -> None:
        """Reads the file, if it has not been read.

        Raises:
            ModelUnreadable: says how to make the file.
        """
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(_read, self._path))
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
        """Raises DependencyDown before `load` has returned."""
        return self._loaded()[0]

    @property
    def places(self) -> PlaceSearch:
        """Raises DependencyDown before `load` has returned."""
        return self._loaded()[1]

    def _loaded(self) -> tuple[Classifier, PlaceSearch]:
        if self._loading is None or not self._loading.done():
            raise DependencyDown("the model is not loaded yet")
        return self._loading.result()


def _read(path: Path) -> tuple[Classifier, PlaceSearch]:
    classifier = Classifier.load(path)
    return classifier, PlaceSearch(classifier.gazetteer)
