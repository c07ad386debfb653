"""Files: what is taken, what it is called, and how long a link is good."""

import io
import zipfile
from datetime import UTC, datetime

import pytest
from chikaya_intake.domain.attachments import EXTENSIONS, Links, UnsupportedType, media_type, safe_name
from hypothesis import given
from hypothesis import strategies as st


def archive(first: str, *others: str, mimetype: str = "") -> bytes:
    """The first bytes of an office document."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as document:
        if mimetype:
            document.writestr("mimetype", mimetype)
        for name in (first, *others):
            document.writestr(name, "<xml/>")
    return content.getvalue()


HEADS = {
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "image/png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "image/webp": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
    "image/heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
    "application/pdf": b"%PDF-1.7\n",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": archive(
        "[Content_Types].xml", "_rels/.rels", "word/document.xml"
    ),
    "application/vnd.oasis.opendocument.text": archive(
        "content.xml", mimetype="application/vnd.oasis.opendocument.text"
    ),
    "audio/mpeg": b"ID3\x04\x00\x00",
    "audio/ogg": b"OggS\x00\x02" + b"\x00" * 22 + b"\x01\x13OpusHead",
    "audio/mp4": b"\x00\x00\x00\x1cftypM4A \x00\x00\x00\x00M4A mp42isom",
    "video/mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
}


def test_every_type_that_is_taken_is_recognised() -> None:
    assert {kind: media_type(head) for kind, head in HEADS.items()} == {kind: kind for kind in EXTENSIONS}


@pytest.mark.parametrize(
    "head",
    [b"", b"<html><script>", b"<svg xmlns='http://www.w3.org/2000/svg'>", b"MZ\x90\x00", archive("a.txt"), b"GIF89a"],
)
def test_other_content_is_not_taken(head: bytes) -> None:
    with pytest.raises(UnsupportedType):
        media_type(head)


@pytest.mark.parametrize(
    ("claimed", "name"),
    [
        ("facture.pdf", "facture.pdf"),
        ("C:\\Users\\me\\Facture.PDF", "Facture.PDF"),
        ("../../etc/passwd", "passwd.pdf"),
        ("photo.exe", "photo.exe.pdf"),
        ("فاتورة\u202efdp.exe", "فاتورةfdp.exe.pdf"),
        ('a"\r\nX: y.pdf', "a_X_ y.pdf"),
        ("", "document.pdf"),
        (".pdf", "document.pdf"),
        ("x" * 500 + ".pdf", "x" * 116 + ".pdf"),
    ],
)
def test_names_are_made_safe(claimed: str, name: str) -> None:
    assert safe_name(claimed, "application/pdf") == name


@given(st.text(), st.sampled_from(sorted(EXTENSIONS)))
def test_any_name_becomes_a_short_one_with_the_ending_of_its_type(claimed: str, kind: str) -> None:
    name = safe_name(claimed, kind)
    assert name.rpartition(".")[2].lower() in EXTENSIONS[kind]
    assert len(name) <= 120
    assert not set(name) & set('/\\\r\n"\0')


def test_a_link_is_good_for_its_file_until_it_expires() -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC)
    until = int(now.timestamp()) + 60
    links = Links(b"s", "https://intake.test")
    signed = links.signature("file", until)
    assert links.opens("file", until, signed, now)
    assert not links.opens("other", until, signed, now)
    assert not links.opens("file", until + 1, signed, now)
    assert not Links(b"other", "").opens("file", until, signed, now)
    assert not links.opens("file", until, signed, datetime.fromtimestamp(until, UTC))
    assert not links.opens("file", until, "é", now)
