"""Taking files in, and what becomes of those that nobody claims."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from chikaya_intake.adapters.multipart import NoFile, file_part
from chikaya_intake.domain.acceptance import Complaint, Filing
from chikaya_intake.domain.attachments import MAX_BYTES, TooLarge, UnsupportedType
from chikaya_intake.files import Files
from hypothesis import given
from hypothesis import strategies as st

MakesFiling = Callable[..., Filing]
PDF = b"%PDF-1.7\n"


async def test_a_file_of_the_largest_size_is_taken_and_a_byte_more_is_not(parts: Any, pieces: Any) -> None:
    megabyte = bytes(1024 * 1024)
    rest = [megabyte] * (MAX_BYTES // len(megabyte) - 1) + [megabyte[: -len(PDF)]]
    about = await parts.files.take("portal", "a.pdf", pieces(PDF, *rest))
    assert about.size == MAX_BYTES
    with pytest.raises(TooLarge):
        await parts.files.take("portal", "a.pdf", pieces(PDF, *rest, b"."))
    assert list(parts.attachments.files) == [about.id]


async def test_the_type_is_what_the_content_is(parts: Any, pieces: Any) -> None:
    about = await parts.files.take("portal", "photo.jpg", pieces(*(PDF[i : i + 1] for i in range(len(PDF)))))
    assert (about.media_type, about.filename) == ("application/pdf", "photo.jpg.pdf")
    with pytest.raises(UnsupportedType):
        await parts.files.take("portal", "photo.jpg", pieces(b"<html>"))


async def test_a_file_that_nobody_claims_is_removed_after_a_day(
    parts: Any, pieces: Any, memory: Any, a_filing: MakesFiling
) -> None:
    claimed, loose, crashed = [await parts.files.take("portal", "a.pdf", pieces(PDF)) for _ in range(3)]
    complaint = await parts.reception.accept(a_filing(attachments=[claimed.id]))
    assert isinstance(complaint, Complaint)
    await parts.attachments.claim("portal", [crashed.id], "key of a complaint never kept", memory.NOON)
    parts.clock.now += timedelta(hours=24)
    await parts.files.remove_loose()
    assert set(parts.attachments.files) == {claimed.id, loose.id, crashed.id}
    parts.clock.now += timedelta(hours=1)
    await parts.files.remove_loose()
    assert set(parts.attachments.files) == {claimed.id}
    assert parts.attachments.files[claimed.id].complaint_id == complaint.id


async def test_the_loop_looks_again_and_again(parts: Any, pieces: Any) -> None:
    await parts.files.take("portal", "a.pdf", pieces(PDF))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        parts.clock.now += timedelta(hours=26)
        if len(slept) == 2:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Files(parts.attachments, parts.complaints, parts.clock, sleep).run()
    assert parts.attachments.files == {}


FORM = 'multipart/form-data; boundary="b1"'


def form(*parts: tuple[str, bytes]) -> bytes:
    return (
        b"".join(b"--b1\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
        + b"--b1--\r\n"
    )


BODY = form(
    ('Content-Disposition: form-data; name="other"', b"value"),
    (
        'Content-Disposition: form-data; name="file"; filename="été.pdf"\r\nContent-Type: text/html',
        b"--b\r\n%PDF\r\n--",
    ),
    ('Content-Disposition: form-data; name="file"; filename="second.pdf"', b"second"),
)


@given(st.lists(st.integers(1, len(BODY) - 1)))
def test_the_file_is_found_however_the_request_is_cut(pieces: Any, cuts: list[int]) -> None:
    async def read() -> tuple[str, bytes]:
        ends = [*sorted(set(cuts)), len(BODY)]
        arriving = pieces(*(BODY[start:end] for start, end in zip([0, *ends], ends, strict=False)))
        name, content = await file_part(arriving, FORM, "file")
        return name, b"".join([piece async for piece in content])

    assert asyncio.run(read()) == ("été.pdf", b"--b\r\n%PDF\r\n--")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (BODY, "application/json"),
        (BODY, "multipart/form-data"),
        (form(('Content-Disposition: form-data; name="other"', b"v")), FORM),
        (form(('Content-Disposition: form-data; name="file"', b"no filename")), FORM),
        (b"nonsense", FORM),
        (b"", FORM),
        (BODY[:150], FORM),
    ],
)
async def test_what_holds_no_whole_file_is_refused(pieces: Any, body: bytes, kind: str) -> None:
    async def read() -> None:
        _, content = await file_part(pieces(body), kind, "file")
        async for _piece in content:
            pass

    with pytest.raises(NoFile):
        await read()
