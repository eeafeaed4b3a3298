"""Reads a captured HTTP request: from a file that holds all of it, or header by header. Refuses to guess."""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bridge.verification import HEADERS

LARGEST = 64 << 20
"""Bytes of a captured request."""

_REQUEST_LINE = re.compile(r"[A-Z]+ \S+ HTTP/[0-9.]+")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Captured:
    """A request's headers, by their names in lower case, and its body as it arrived."""

    headers: dict[str, str]
    body: bytes

    @property
    def odd(self) -> str:
        """What the body's length says against the capture; "" for nothing."""
        length = self.headers.get("content-length", "")
        if length and length != str(len(self.body)):
            return f"content-length is {length}, but the captured body has {len(self.body)} bytes"
        return ""


def captured(request: Path | None, headers: Iterable[str], body: Path | None) -> Captured:
    """The request in a file, or in parts; parts go before what the file says.

    Raises:
        ValueError: a file can't be read, or what was given is no request.
    """
    if request is not None and body is not None and {str(request), str(body)} == {"-"}:
        raise ValueError("standard input can be the request or its body, not both")
    lines: list[str] = []
    content = b""
    if request is not None:
        head, content = _parted(_read(request))
        lines = head
    elif body is None:
        raise ValueError("give the whole request with --request FILE, or --header for each header and --body FILE")
    if body is not None:
        content = _read(body)
    found = _headers(lines) | _headers(headers)
    if body is None and "chunked" in found.get("transfer-encoding", "").lower():
        raise ValueError("the captured body is in chunks: give the body alone, put together, with --body FILE")
    return Captured(found, content)


def _read(path: Path) -> bytes:
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with path.open("rb") as file:
                content = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{path} can't be read: {(error.strerror or 'input/output error').lower()}") from None
    if len(content) > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST >> 20} MiB")
    return content


def _parted(content: bytes) -> tuple[list[str], bytes]:
    """The lines of the headers, and what comes after the first empty line, byte for byte."""
    content = content.lstrip(b"\r\n")
    end = _END_OF_HEAD.search(content)
    if end is None:
        raise ValueError("the captured request has no empty line, after which its body would come")
    lines = content[: end.start()].decode(errors="surrogateescape").replace("\r\n", "\n").split("\n")
    if _REQUEST_LINE.fullmatch(lines[0]):
        lines = lines[1:]
    return [line for line in lines if not line.startswith(":")], content[end.end() :]  # `:path` and so on of HTTP/2


def _headers(lines: Iterable[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in _pairs(lines):
        if name in HEADERS and headers.get(name, value) != value:
            raise ValueError(f"{name} is there twice, with different values")
        headers[name] = value
    return headers


def _pairs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise ValueError(f"header {number} is not of the form 'name: value'")
        yield name.lower(), value.strip()
