"""Reads JSON texts that hold half a surrogate pair, as a text cut between two UTF-16 units has it. Pure.

RFC 8259, 8.2, allows them and browsers send them; decoders of UTF-8 texts refuse them.
"""

import re

import msgspec

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(u[dD][89a-fA-F][\da-fA-F]{2})|.)", re.DOTALL
)
"""One escape of a JSON text, a surrogate pair as one; group 1 is half of a pair, alone."""


def paired(text: bytes) -> bytes:
    """The same JSON text, of the same length, with U+FFFD for every surrogate that stands alone."""
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], text)


def verbatim(text: bytes, part: msgspec.Raw) -> bytes:
    """The bytes of `text` that `part` was decoded from, by way of `paired(text)` or not."""
    at = paired(text).index(part)
    return text[at : at + len(bytes(part))]
