"""Many cases from a few: documents as the services wrote them, again and again under other ids, references and numbers.

A clone of a case is one everywhere: its ids are the same function of the original's in every document and every store.
Each clone is a second older than the one before, so that lists by time are as mixed as in life.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId
from chikaya_contracts import reference
from chikaya_servicekit import paging

UUID = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-)([0-9a-f]{12})")
REFERENCE = re.compile(r"(?<!\d)(20\d\d)(\d{8})\d\d(?!\d)")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
PHONE = re.compile(r"\+2126(\d{8})(?!\d)")
SKIP_LIST_KEY = re.compile(r"([^{}]+?)\|[0-3]\|([^{}]+)")
"""See `chikaya_servicekit.paging`."""
STEP = 0x9E3779B97F
"""Odd, and large: ids of different clones are far apart, as those of different complaints are."""
FIRST_SEQUENCE, SEQUENCES = 40_000_000, 3_000
"""Clones' references begin there, above all that intake gives out in a benchmark; so many for each clone."""
LONGEST_KEY = 32
"""Bytes up to that length are keys and hashes, which differ from clone to clone; longer ones are content."""


def cloned(value: Any, number: int) -> Any:
    """The value in the `number`-th clone (from 1)."""
    if isinstance(value, str):
        return _text(value, number)
    if isinstance(value, Mapping):
        return {_text(name, number): cloned(one, number) for name, one in value.items()}
    if isinstance(value, list):
        return [cloned(one, number) for one in value]
    if isinstance(value, datetime):
        return value - timedelta(seconds=number)
    if isinstance(value, ObjectId):
        return ObjectId()
    if isinstance(value, bytes) and 4 <= len(value) <= LONGEST_KEY:
        return value[:-4] + (int.from_bytes(value[-4:]) ^ number).to_bytes(4)
    return value


def _text(text: str, number: int) -> str:
    def id(found: re.Match[str]) -> str:
        return f"{found[1]}{(int(found[2], 16) + number * STEP) % 16**12:012x}"

    def ref(found: re.Match[str]) -> str:
        return reference.make(int(found[1]), FIRST_SEQUENCE + number * SEQUENCES + int(found[2]) % SEQUENCES)

    def moment(found: re.Match[str]) -> str:
        return (datetime.fromisoformat(found[0]) - timedelta(seconds=number)).isoformat()

    def phone(found: re.Match[str]) -> str:
        return f"+2126{(int(found[1]) + number * SEQUENCES) % 10**8:08d}"

    changed = PHONE.sub(phone, MOMENT.sub(moment, REFERENCE.sub(ref, UUID.sub(id, text))))
    if changed != text and (key := SKIP_LIST_KEY.fullmatch(changed)):
        # Chance settles a row's level: clones of a row are on all levels, as other rows would be.
        return paging.key(key[1], key[2], changed)
    return changed


def clones(documents: Sequence[Mapping[str, Any]], wanted: int) -> Iterator[dict[str, Any]]:
    """So many documents, or a few more: all of them once for each clone."""
    for number in range(1, -(-wanted // max(1, len(documents))) + 1):
        for document in documents:
            yield cloned(document, number)
