"""Whether the contracts of the work tree still agree with those of an earlier commit.

`python -m chikaya_contracts.compatibility [--base REF]` exits 1 and names type and field of every break:

- new reader, old record: today's models read every golden example of the base, and ask for nothing it did not promise;
- old reader, new record: today's golden examples fit the base's consumer schemas, and nothing these rely on is gone;
- no type, topic or example is removed; no topic changes its key, partitions, clock or compaction, or keeps less.

Needs the development dependencies (jsonschema) and git.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from . import golden, json_schema, messages
from .envelope import Message, Undecodable, decode
from .golden import Example
from .json_schema import Schema

REPOSITORY = Path(__file__).resolve().parents[2]
TOPICS = "contracts/chikaya_contracts/topics.yaml"
EXAMPLES = "contracts/chikaya_contracts/examples"
SCHEMAS = "contracts/schemas/consumer"

LOWER_LIMITS = ("minLength", "minimum", "exclusiveMinimum", "minItems")
UPPER_LIMITS = ("maxLength", "maximum", "exclusiveMaximum", "maxItems")
FORMS = ("type", "format", "pattern", "multipleOf", "uniqueItems")

NEW_READER = "new readers refuse old records"
OLD_READER = "old readers refuse new records"


@dataclass(frozen=True, slots=True)
class Contract:
    """What one commit promises: rows of the table of topics by name, consumers' schemas by type, golden examples."""

    topics: dict[str, dict[str, Any]]
    schemas: dict[str, Schema]
    examples: tuple[Example, ...]


def present() -> Contract:
    """The contract of the work tree, from its models."""
    return Contract(
        topics=_rows(files(__package__).joinpath("topics.yaml").read_text("utf-8")),
        schemas={type_: json_schema.consumer(model) for type_, model in messages.ALL.items()},
        examples=tuple(golden.examples()),
    )


def at(root: Path, ref: str) -> Contract:
    """The contract of commit `ref` of the repository `root`; empty if it had none."""
    texts = _texts(root, ref)
    return Contract(
        topics=_rows(texts[TOPICS]) if TOPICS in texts else {},
        schemas={Path(path).stem: json.loads(text) for path, text in texts.items() if path.startswith(SCHEMAS)},
        examples=tuple(
            Example.parse(Path(path).parent.name, Path(path).stem, text)
            for path, text in texts.items()
            if path.startswith(EXAMPLES)
        ),
    )


def _texts(root: Path, ref: str) -> dict[str, str]:
    """The contract's files at `ref` by path, all read by one process: there are hundreds."""
    listed = _git(root, "ls-tree", "-r", "-z", "--full-tree", ref, TOPICS, EXAMPLES, SCHEMAS)
    entries = [entry.split("\t") for entry in listed.decode().split("\0") if entry]
    objects = "".join(f"{about.split()[2]}\n" for about, _ in entries)
    contents = _git(root, "cat-file", "--batch", stdin=objects.encode())
    texts = {}
    for _, path in entries:
        header, _, rest = contents.partition(b"\n")
        size = int(header.split()[2])
        texts[path], contents = rest[:size].decode(), rest[size + 1 :]
    return texts


def breaks(old: Contract, new: Contract, known: dict[str, type[Message]]) -> list[str]:
    """Every break between two contracts, in words; `known` are the new models."""
    return [
        *_gone(old, new),
        *_changed_topics(old, new),
        *_old_records(old, known),
        *_new_records(old, new),
        *(
            f"{type_} {problem}"
            for type_, schema in old.schemas.items()
            if type_ in new.schemas
            for problem in differences(schema, new.schemas[type_])
        ),
    ]


def _gone(old: Contract, new: Contract) -> Iterator[str]:
    yield from (f"topic {name} is removed" for name in old.topics if name not in new.topics)
    types = {*old.schemas, *(one.type for one in old.examples)}
    yield from (f"{type_} is removed" for type_ in sorted(types - new.schemas.keys()))
    kept = {(one.type, one.name) for one in new.examples}
    for one in old.examples:
        if one.type in new.schemas and (one.type, one.name) not in kept:
            yield f"{one.type} example {one.name} is removed: records of its form are still in the topics"


def _changed_topics(old: Contract, new: Contract) -> Iterator[str]:
    for name, before in old.topics.items():
        after = new.topics.get(name)
        if after is None:
            continue
        for what, default in (("key", None), ("partitions", None), ("compacted", False), ("timestamp", "CreateTime")):
            was, is_ = before.get(what, default), after.get(what, default)
            if was != is_:
                yield f"topic {name}: {what} changes from {was} to {is_}; a new version of the topic is needed"
        was, is_ = before["retention_days"], after["retention_days"]
        if is_ is not None and (was is None or is_ < was):
            yield f"topic {name}: retention falls from {'unlimited' if was is None else f'{was} d'} to {is_} d"


def _old_records(old: Contract, known: dict[str, type[Message]]) -> Iterator[str]:
    for one in old.examples:
        model = known.get(one.type)
        if model is None:
            continue
        if not re.fullmatch(model.TOPIC.pattern, one.topic):
            yield f"{one.type} moves from {one.topic} to {model.TOPIC.name}: {NEW_READER}"
        try:
            decode(one.topic, one.kafka_value, one.kafka_headers, known)
        except Undecodable as problem:
            yield f"{one.type} {problem}: {NEW_READER} (example {one.name})"


def _new_records(old: Contract, new: Contract) -> Iterator[str]:
    for one in new.examples:
        if one.type in old.schemas:
            for problem in jsonschema.Draft202012Validator(old.schemas[one.type]).iter_errors(one.value):
                field = ".".join(map(str, problem.absolute_path)) or "value"
                yield f"{one.type} {field}: {problem.validator}: {OLD_READER} (example {one.name})"


def differences(old: Schema, new: Schema) -> Iterator[str]:
    """Where a record that fits one of two schemas might not fit the other; schemas as Pydantic makes them."""
    yield from _compare("", old, new, old, new)


def _resolved(schema: Schema, root: Schema) -> Schema:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return {**root["$defs"][name], **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _without_null(schema: Schema, root: Schema) -> tuple[Schema, bool]:
    """A field's schema when it is there, and whether it may be null."""
    schema = _resolved(schema, root)
    choices = schema.get("anyOf", [])
    values = [choice for choice in choices if choice.get("type") != "null"]
    if len(values) == 1 and len(choices) == 2:
        return _resolved(values[0], root), True
    return schema, False


def _compare(path: str, old: Schema, new: Schema, old_root: Schema, new_root: Schema) -> Iterator[str]:
    (old, old_null), (new, new_null) = _without_null(old, old_root), _without_null(new, new_root)
    where = path or "value"
    if old_null and not new_null:
        yield f"{where}: may no longer be null: {NEW_READER}"
    if new_null and not old_null:
        yield f"{where}: may now be null: {OLD_READER}"
    yield from _compare_forms(where, old, new)
    yield from _compare_limits(where, old, new)
    if isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
        yield from _compare(f"{where}[]", old["items"], new["items"], old_root, new_root)
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in before:
        if name in after:
            yield from _compare(f"{path}.{name}".lstrip("."), before[name], after[name], old_root, new_root)
    prefix = f"{path}." if path else ""
    asked, ask = set(old.get("required", [])), set(new.get("required", []))
    yield from (f"{prefix}{name}: is now required: {NEW_READER}" for name in sorted(ask - asked))
    yield from (f"{prefix}{name}: is no longer required: {OLD_READER}" for name in sorted(asked - ask))


def _values(schema: Schema) -> set[str] | None:
    """The values that a schema allows, as JSON; None if it names none."""
    listed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return None if listed is None else {json.dumps(value) for value in listed}


def _compare_forms(where: str, old: Schema, new: Schema) -> Iterator[str]:
    for form in FORMS:
        if old.get(form) != new.get(form):
            yield f"{where}: {form} changes from {old.get(form)} to {new.get(form)}: {NEW_READER}, or {OLD_READER}"
    if json.dumps(old.get("anyOf")) != json.dumps(new.get("anyOf")):
        yield f"{where}: its alternatives change: {NEW_READER}, or {OLD_READER}"
    before, after = _values(old), _values(new)
    if before == after:
        return
    if after is not None and (before is None or before - after):
        lost = ", ".join(sorted(before - after)) if before else "any"
        yield f"{where}: values {lost} are no longer allowed: {NEW_READER}"
    if before is not None and (after is None or after - before):
        added = ", ".join(sorted(after - before)) if after else "any"
        yield f"{where}: values {added} are now allowed: {OLD_READER}"


def _compare_limits(where: str, old: Schema, new: Schema) -> Iterator[str]:
    for limit in (*LOWER_LIMITS, *UPPER_LIMITS):
        was, is_ = old.get(limit), new.get(limit)
        if was == is_:
            continue
        tighter = was is None or (is_ is not None and (is_ > was) == (limit in LOWER_LIMITS))
        yield f"{where}: {limit} changes from {was} to {is_}: {NEW_READER if tighter else OLD_READER}"


def _rows(text: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in yaml.safe_load(text)}


def _git(root: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, input=stdin, check=True, capture_output=True).stdout  # noqa: S603


def _commit(root: Path, ref: str) -> str | None:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").decode().strip()
    except subprocess.CalledProcessError:
        return None


def default_base(root: Path) -> str | None:
    """`origin/main`, or else `main`, if the commit checked out is another; else the commit before it, if any."""
    head = _commit(root, "HEAD")
    if head is None:
        return None
    main_branch = next((name for name in ("origin/main", "main") if _commit(root, name)), None)
    if main_branch and _commit(root, main_branch) != head:
        return main_branch
    return "HEAD~1" if _commit(root, "HEAD~1") else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code: 0 compatible or nothing to compare with, 1 breaks, 2 no such base, no git."""
    parser = argparse.ArgumentParser(
        prog="python -m chikaya_contracts.compatibility",
        description="Compares the contracts of the work tree with those of an earlier commit.",
    )
    parser.add_argument("--base", metavar="REF", help="the commit to compare with (default: main, else HEAD~1)")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the repository (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        _git(options.root, "rev-parse", "--git-dir")
    except FileNotFoundError:
        print("git is needed to read the earlier commit", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as refused:
        print(f"git cannot read {options.root}: {refused.stderr.decode().strip()}", file=sys.stderr)
        return 2
    base = options.base or default_base(options.root)
    if base is None:
        print("nothing to compare with: no earlier commit")
        return 0
    if _commit(options.root, base) is None:
        print(f"no commit {base} in {options.root}", file=sys.stderr)
        return 2
    old = at(options.root, base)
    if not old.topics:
        print(f"nothing to compare with: no contracts at {base}")
        return 0
    found = breaks(old, present(), messages.ALL)
    for problem in found:
        print(problem)
    if found:
        print(f"{len(found)} breaks with {base}. A breaking change is a new version of the topic: contracts/README.md")
        return 1
    print(f"compatible with {base}: {len(old.schemas)} types, {len(old.examples)} examples, {len(old.topics)} topics")
    return 0


if __name__ == "__main__":
    sys.exit(main())
