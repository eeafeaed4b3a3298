"""Reads JSON texts that hold half a surrogate pair, as a text cut between two UTF-16 units has it. Pure.

RFC 8259, 8.2, allows them and browsers send them; decoders of UTF-8 texts refuse them.
"""

import re

import msgspec

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(u[dD][89a-fA-F][\da-fA-F]{2})|.)", re.DOTALL
)
"""One escape of a JSON text, a surrogate pair as one; group 1 is half of a pair, alone."""
_TOKEN = re.compile(rb'([][{}])|("[^"\\]*(?:\\.[^"\\]*)*")(\s*:\s*)?', re.DOTALL)
"""What tells where the members of a JSON text are: a bracket (group 1), or a string (2) and the colon behind it (3)."""


def paired(text: bytes) -> bytes:
    """The same JSON text, of the same length, with U+FFFD for every surrogate that stands alone."""
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], text)


def verbatim(text: bytes, part: msgspec.Raw, name: str) -> bytes:
    """The bytes of `text` that its member `name` was decoded from, as `part`, by way of `paired(text)`."""
    if rb"\ufffd" not in bytes(part):
        return bytes(part)
    at = _place(text, name)  # not where `part` is found first: what stood there may have been another surrogate
    return text[at : at + len(bytes(part))]


def _place(text: bytes, name: str) -> int:
    """Where the value of a JSON object's member begins; of the last one of that name."""
    depth = at = 0
    for token in _TOKEN.finditer(text):
        if token[1]:
            depth += 1 if token[1] in b"[{" else -1
        elif depth == 1 and token[3] and msgspec.json.decode(paired(token[2])) == name:
            at = token.end()
    return at
