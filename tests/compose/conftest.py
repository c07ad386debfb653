"""docker-compose.yml as the engine would see it, with a set of secrets."""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SECRET = re.compile(r"(?<!\$)\$\{([A-Z_]+)(?::\?[^}]*)?\}")


@dataclass(frozen=True)
class Compose:
    """The file's text, what it says with YAML's merges done, and a secret for each name."""

    text: str
    secrets: Mapping[str, str]

    @cached_property
    def document(self) -> dict[str, Any]:
        return yaml.safe_load(self.text)

    @cached_property
    def services(self) -> dict[str, dict[str, Any]]:
        return self.document["services"]

    @cached_property
    def built(self) -> dict[str, dict[str, Any]]:
        """Services whose image is this project's."""
        return {name: service for name, service in self.services.items() if "build" in service}

    @cached_property
    def lasting(self) -> dict[str, dict[str, Any]]:
        """Services that stay; the others do one thing and leave."""
        return {name: service for name, service in self.services.items() if service["restart"] != "no"}

    def environment(self, service: str) -> dict[str, str]:
        """What the container is given, secrets filled in."""
        given = self.services[service].get("environment", {})
        return {name: self.filled(str(value)) for name, value in given.items()}

    def filled(self, text: str) -> str:
        return SECRET.sub(lambda found: self.secrets[found[1]], text).replace("$$", "$")


def _module(name: str) -> ModuleType:
    """A program of deploy/compose, which is no package: containers run the file itself."""
    spec = importlib.util.spec_from_file_location(f"compose_{name}", ROOT / "deploy" / "compose" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def env_program() -> ModuleType:
    return _module("env")


@pytest.fixture(scope="session")
def topics_program() -> ModuleType:
    return _module("topics")


@pytest.fixture(scope="session")
def compose(env_program: ModuleType) -> Compose:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    lines = env_program.complete(text, "").splitlines()
    return Compose(text, dict(line.split("=", 1) for line in lines))
