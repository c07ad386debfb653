"""Compatibility: each kind of break is caught, and each compatible change passes, against real commits."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from chikaya_contracts import json_schema, messages
from chikaya_contracts.compatibility import (
    EXAMPLES,
    NEW_READER,
    OLD_READER,
    SCHEMAS,
    TOPICS,
    at,
    breaks,
    default_base,
    differences,
    main,
    present,
)
from chikaya_contracts.schemas import REPOSITORY
from pydantic import ConfigDict, Field

RATE = "ma.chikaya.request.rate.v1"
SUBMITTED = "ma.chikaya.complaint.submitted.v1"


class Repository:
    """A throw-away git repository with a copy of the contracts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "--quiet", "--initial-branch=main")
        (root / TOPICS).parent.mkdir(parents=True)
        shutil.copy(REPOSITORY / TOPICS, root / TOPICS)
        shutil.copytree(REPOSITORY / EXAMPLES, root / EXAMPLES)
        shutil.copytree(REPOSITORY / SCHEMAS, root / SCHEMAS)

    def git(self, *arguments: str) -> str:
        nobody = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_CONFIG_GLOBAL": os.devnull}
        nobody |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in nobody.items()}
        environment = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")} | nobody
        done = subprocess.run(
            ["git", *arguments], cwd=self.root, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a contract")
        return self.git("rev-parse", "HEAD")

    def edit(self, path: str, change: Callable[[Any], Any]) -> None:
        """Replaces a JSON or YAML file by what `change` makes of it (None: as changed in place)."""
        file = self.root / path
        document = yaml.safe_load(file.read_text("utf-8"))
        changed = change(document)
        document = document if changed is None else changed
        file.write_text(json.dumps(document) if file.suffix == ".json" else yaml.safe_dump(document), "utf-8")

    def compare(self, *arguments: str) -> int:
        return main(["--root", str(self.root), *arguments])


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def schema(type_: str) -> str:
    return f"{SCHEMAS}/{type_}.json"


def example(type_: str, name: str) -> str:
    return f"{EXAMPLES}/{type_}/{name}.json"


def row(name: str, **change: Any) -> Callable[[Any], None]:
    """Changes a row of the table of topics."""

    def changed(rows: list[dict[str, Any]]) -> None:
        next(one for one in rows if one["name"] == name).update(change)

    return changed


def deep(*path: str, **change: Any) -> Callable[[Any], None]:
    """Changes the part of a document that lies at `path`."""

    def changed(document: Any) -> None:
        for name in path:
            document = document[name]
        document.update(change)

    return changed


def dropped(*path: str) -> Callable[[Any], None]:
    """Takes out the part of a document that lies at `path`."""

    def changed(document: Any) -> None:
        for name in path[:-1]:
            document = document[name]
        del document[path[-1]]

    return changed


# What the base said, if today's contract is to break it; and what is said of it.
BREAKS: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "a topic is removed": (
        TOPICS,
        lambda rows: [*rows, {**rows[0], "name": "complaints.forgotten.v1"}],
        "topic complaints.forgotten.v1 is removed",
    ),
    "a topic's key changes": (TOPICS, row("complaints.requests.v1", key="reference"), "requests.v1: key changes"),
    "a topic loses partitions": (
        TOPICS,
        row("complaints.requests.v1", partitions=12),
        "requests.v1: partitions changes from 12 to 6",
    ),
    "a topic gains partitions, which moves keys": (
        TOPICS,
        row("complaints.requests.v1", partitions=3),
        "requests.v1: partitions changes from 3 to 6",
    ),
    "a topic keeps less": (
        TOPICS,
        row("complaints.requests.v1", retention_days=60),
        "requests.v1: retention falls from 60 d to 30 d",
    ),
    "an unlimited topic becomes limited": (
        TOPICS,
        row("complaints.requests.v1", retention_days=None),
        "requests.v1: retention falls from unlimited to 30 d",
    ),
    "a topic is no longer compacted": (
        TOPICS,
        row("complaints.lifecycle.v1", compacted=True),
        "lifecycle.v1: compacted changes from True to False",
    ),
    "the legal time of a topic changes": (
        TOPICS,
        row("complaints.requests.v1", timestamp="LogAppendTime"),
        "requests.v1: timestamp changes from LogAppendTime to CreateTime",
    ),
    "a field becomes required": (
        schema(RATE),
        deep(required=["complaint_id", "at", "by"]),
        f"{RATE} score: is now required: {NEW_READER}",
    ),
    "a field is no longer required": (
        schema(RATE),
        deep(required=["complaint_id", "at", "by", "score", "text"]),
        f"{RATE} text: is no longer required: {OLD_READER}",
    ),
    "a required field is removed": (
        schema(RATE),
        lambda old: {
            **old,
            "properties": {**old["properties"], "mood": {"type": "string"}},
            "required": [*old["required"], "mood"],
        },
        f"{RATE} mood: is no longer required: {OLD_READER}",
    ),
    "a field deep inside changes its type": (
        schema(SUBMITTED),
        deep("$defs", "Attachment", "properties", "size", type="string"),
        f"{SUBMITTED} attachments[].size: type changes from string to integer",
    ),
    "a value is added": (
        schema(RATE),
        deep("properties", "by", enum=["citizen", "clock"]),
        f'{RATE} by: values "agent" are now allowed: {OLD_READER}',
    ),
    "a value is removed": (
        schema(RATE),
        deep("properties", "by", enum=["citizen", "agent", "clock", "robot"]),
        f'{RATE} by: values "robot" are no longer allowed: {NEW_READER}',
    ),
    "a limit is tightened": (
        schema(RATE),
        deep("properties", "score", maximum=10),
        f"{RATE} score: maximum changes from 10 to 5: {NEW_READER}",
    ),
    "a limit is loosened": (
        schema(RATE),
        deep("properties", "score", minimum=3),
        f"{RATE} score: minimum changes from 3 to 1: {OLD_READER}",
    ),
    "a limit is introduced": (
        schema(RATE),
        dropped("properties", "score", "maximum"),
        f"{RATE} score: maximum changes from None to 5: {NEW_READER}",
    ),
    "a pattern changes": (
        schema(SUBMITTED),
        deep(
            "$defs",
            "Place",
            "properties",
            commune={"anyOf": [{"type": "string", "pattern": "^[0-9]+$"}, {"type": "null"}]},
        ),
        f"{SUBMITTED} place.commune: pattern changes",
    ),
    "a field may no longer be null": (
        schema(RATE),
        deep("properties", score={"anyOf": [{"type": "integer", "minimum": 1, "maximum": 5}, {"type": "null"}]}),
        f"{RATE} score: may no longer be null: {NEW_READER}",
    ),
    "a field may now be null": (
        schema(RATE),
        deep("properties", text={"type": "string", "minLength": 1, "maxLength": 10_000}),
        f"{RATE} text: may now be null: {OLD_READER}",
    ),
    "the ways to be reached change": (
        schema(SUBMITTED),
        deep("$defs", "Contact", anyOf=[{"required": ["phone"]}]),
        f"{SUBMITTED} contact: its alternatives change",
    ),
    "an old record is no longer read": (
        example(RATE, "minimal-by-agent"),
        deep("value", score=7),
        f"{RATE} score: less_than_equal: {NEW_READER} (example minimal-by-agent)",
    ),
    "an old record lacks what is now needed": (
        example(SUBMITTED, "full-french"),
        dropped("value", "contact", "name"),
        f"{SUBMITTED} contact.name: missing: {NEW_READER} (example full-french)",
    ),
    "a message moves to another topic": (
        example(RATE, "minimal-by-agent"),
        lambda old: {**old, "topic": "complaints.ratings.v1"},
        f"{RATE} moves from complaints.ratings.v1 to complaints.requests.v1",
    ),
    "a new record is not read by old readers": (
        schema(RATE),
        deep("properties", text={"type": "integer"}),
        f"{RATE} text: type: {OLD_READER} (example full-with-words-french)",
    ),
}

# What the base said, if today's contract is only to have grown.
GROWTH: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "nothing changes": (TOPICS, lambda rows: None),
    "a topic is added": (TOPICS, lambda rows: rows[:-1]),
    "a topic keeps more": (TOPICS, row("complaints.requests.v1", retention_days=7)),
    "a topic is kept for ever": (TOPICS, row("complaints.lifecycle.v1", retention_days=90)),
    "a topic has a further reader": (TOPICS, row("complaints.lifecycle.v1", readers=["tracking"])),
    "an optional field is added": (schema(RATE), dropped("properties", "text")),
    "an optional part is added": (schema(SUBMITTED), dropped("properties", "place")),
    "an optional field deep inside is added": (
        schema(SUBMITTED),
        dropped("$defs", "Place", "properties", "text"),
    ),
    "an optional field is removed": (schema(RATE), deep("properties", mood={"type": "string"})),
    "a description changes": (schema(RATE), lambda old: {**old, "description": "otherwise"}),
    "old records had fields that nobody knows now": (
        example(RATE, "minimal-by-agent"),
        deep("value", mood="calm"),
    ),
    "old records lack an optional field": (
        example(SUBMITTED, "full-french"),
        dropped("value", "attachments"),
    ),
}


@pytest.mark.parametrize(("path", "change", "said"), BREAKS.values(), ids=BREAKS)
def test_a_break_is_caught_and_named(
    repository: Repository, capsys: pytest.CaptureFixture[str], path: str, change: Callable[[Any], Any], said: str
) -> None:
    repository.edit(path, change)
    base = repository.commit()
    assert repository.compare("--base", base) == 1
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(("path", "change"), GROWTH.values(), ids=GROWTH)
def test_a_compatible_change_passes(
    repository: Repository, capsys: pytest.CaptureFixture[str], path: str, change: Callable[[Any], Any]
) -> None:
    repository.edit(path, change)
    base = repository.commit()
    assert repository.compare("--base", base) == 0, capsys.readouterr().out
    assert capsys.readouterr().out.startswith(f"compatible with {base}")


def test_a_removed_type_is_caught(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(repository.root / schema(RATE), repository.root / schema("ma.chikaya.request.sing.v1"))
    folder = repository.root / EXAMPLES / "ma.chikaya.request.dance.v1"
    shutil.copytree(repository.root / EXAMPLES / RATE, folder)
    repository.commit()
    assert repository.compare("--base", "HEAD") == 1
    said = capsys.readouterr().out
    assert "ma.chikaya.request.sing.v1 is removed" in said
    assert "ma.chikaya.request.dance.v1 is removed" in said


def test_a_removed_example_is_caught(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    kept = repository.root / example(RATE, "minimal-by-agent")
    shutil.copy(kept, kept.with_name("older-form.json"))
    repository.commit()
    assert repository.compare("--base", "HEAD") == 1
    assert f"{RATE} example older-form is removed" in capsys.readouterr().out


def test_a_type_and_an_example_may_be_added(repository: Repository) -> None:
    shutil.rmtree(repository.root / EXAMPLES / RATE)
    (repository.root / schema(RATE)).unlink()
    (repository.root / example(SUBMITTED, "full-french")).unlink()
    repository.commit()
    assert repository.compare("--base", "HEAD") == 0


def test_the_base_is_main_when_another_commit_is_checked_out(repository: Repository) -> None:
    repository.commit()
    assert default_base(repository.root) is None
    repository.git("checkout", "--quiet", "-b", "change")
    assert default_base(repository.root) is None
    repository.commit()
    assert default_base(repository.root) == "main"
    repository.git("update-ref", "refs/remotes/origin/main", "HEAD~1")
    assert default_base(repository.root) == "origin/main"


def test_the_base_is_the_commit_before_on_main(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.edit(TOPICS, row("complaints.requests.v1", key="reference"))
    repository.commit()
    repository.edit(TOPICS, row("complaints.requests.v1", key="complaint id"))
    repository.commit()
    assert default_base(repository.root) == "HEAD~1"
    assert repository.compare() == 1
    repository.git("update-ref", "refs/remotes/origin/main", "HEAD")
    assert default_base(repository.root) == "HEAD~1"
    capsys.readouterr()
    repository.commit()
    repository.git("update-ref", "refs/remotes/origin/main", "HEAD")
    assert repository.compare() == 0
    assert "compatible with HEAD~1" in capsys.readouterr().out


def test_the_first_commit_has_nothing_to_be_compared_with(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repository.compare() == 0
    repository.commit()
    assert repository.compare() == 0
    assert capsys.readouterr().out.splitlines() == ["nothing to compare with: no earlier commit"] * 2


def test_a_base_without_contracts_is_said_to_have_none(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.git("commit", "--quiet", "--allow-empty", "--message", "empty")
    assert repository.compare("--base", "HEAD") == 0
    assert "no contracts at HEAD" in capsys.readouterr().out


def test_a_base_that_is_no_commit_is_an_error(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.commit()
    assert repository.compare("--base", "nowhere") == 2
    assert "no commit nowhere" in capsys.readouterr().err


def test_a_folder_that_is_no_repository_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path)]) == 2
    assert "git cannot read" in capsys.readouterr().err


def test_what_is_read_from_a_commit_is_what_was_written(repository: Repository) -> None:
    repository.commit()
    assert at(repository.root, "HEAD") == present()


def test_new_models_are_held_against_old_records() -> None:
    class Stricter(messages.ALL[RATE]):
        model_config = ConfigDict(frozen=True, extra="forbid")
        mood: str = Field(min_length=1)

    found = breaks(present(), present(), messages.ALL | {RATE: Stricter})
    read = [one.name for one in present().examples if one.type == RATE]
    assert found == [f"{RATE} mood: missing: {NEW_READER} (example {name})" for name in read]
    wanted = f"mood: is now required: {NEW_READER}"
    assert list(differences(json_schema.consumer(messages.ALL[RATE]), json_schema.consumer(Stricter))) == [wanted]


@pytest.mark.parametrize("type_", messages.ALL)
def test_a_schema_does_not_differ_from_itself(type_: str) -> None:
    made = json_schema.consumer(messages.ALL[type_])
    assert list(differences(made, made)) == []
