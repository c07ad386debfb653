"""What routing's tests share: the trained artefact, made once for each state of its inputs and then kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from chikaya_routing.domain.judgement import Classifier
from chikaya_routing.domain.places import Gazetteer
from chikaya_routing.train import cached

MODELS = Path(__file__).parents[3] / ".local" / "models"


@pytest.fixture(scope="session")
def artefact() -> Path:
    return cached(MODELS)


@pytest.fixture(scope="session")
def gazetteer() -> Gazetteer:
    return Gazetteer()


@pytest.fixture(scope="session")
def classifier(artefact: Path, gazetteer: Gazetteer) -> Classifier:
    return Classifier.load(artefact, gazetteer)
