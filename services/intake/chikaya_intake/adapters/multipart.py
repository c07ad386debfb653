"""A file out of `multipart/form-data` while the request still arrives: nothing is spooled, no disk can be filled."""

from collections import deque
from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header


class NoFile(Exception):
    """The request is not a form, is cut off, or has no part of that name with a file."""


class _Parts:
    """Collects, from the parser's callbacks, the content of the first part that is the wanted field."""

    def __init__(self, field: bytes, boundary: bytes) -> None:
        self._field = field
        self.filename: str | None = None
        self.pieces: deque[bytes] = deque()
        self.complete = False
        self._inside = False
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._part_data,
                "on_part_end": self._part_ends,
            },
        )

    def _part_begins(self) -> None:
        self._headers = {}

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if self.filename is None and options.get(b"name") == self._field and b"filename" in options:
            self.filename = options[b"filename"].decode("utf-8", "replace")
            self._inside = True

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._inside and end > start:
            self.pieces.append(data[start:end])

    def _part_ends(self) -> None:
        if self._inside:
            self._inside, self.complete = False, True


async def file_part(stream: AsyncIterator[bytes], content_type: str, field: str) -> tuple[str, AsyncIterator[bytes]]:
    """The name that the sender gave the file in `field`, and its content as it arrives.

    Raises:
        NoFile: here, or while the content is read when it is cut off.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise NoFile
    try:
        parts = _Parts(field.encode(), options[b"boundary"])
        async for piece in stream:
            parts.parser.write(piece)
            if parts.filename is not None:
                return parts.filename, _content(parts, stream)
    except FormParserError:
        raise NoFile from None
    raise NoFile


async def _content(parts: _Parts, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        while parts.pieces:
            yield parts.pieces.popleft()
        if parts.complete:
            return
        try:
            piece = await anext(stream, b"")
            if not piece:
                raise NoFile
            parts.parser.write(piece)
        except FormParserError:
            raise NoFile from None
