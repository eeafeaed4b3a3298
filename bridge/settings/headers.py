"""Judges the headers that a configuration adds to requests: their names, their values, how many. Pure.

No error here repeats a value: each may be a secret.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr

MOST, MOST_BYTES = 64, 8192
"""Headers that a destination may add, and bytes of their names and values together."""

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")  # a token of RFC 9110, section 5.6.2
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,4094}[\x21-\x7e])?")
_WEBHOOK_VALUE = re.compile(r"[\x21-\x7e]([\t\x20-\x7e]{0,8190}[\x21-\x7e])?")
_OF_A_STREAM = frozenset({"accept", "accept-encoding", "cache-control", "last-event-id", "host", "content-length"})
_HOP_BY_HOP = frozenset(  # RFC 9110, section 7.6.1; RFC 2616, section 13.5.1
    {
        "connection", "transfer-encoding", "keep-alive", "proxy-connection", "proxy-authenticate",
        "proxy-authorization", "te", "trailer", "trailers", "upgrade", "expect", "http2-settings",
    }
)  # fmt: skip
_REFUSED = {
    "host": "names the receiver, which url does",
    "content-": "describes the body, which the bridge makes",
    "date": "would be the same for ever",
    "traceparent": "follows each event, which the bridge sees to",
    "proxy-": "is for a proxy, which proxy is the place for",
    "sec-websocket-": "is for another protocol",
    "webhook-": "belongs to the signature, which the bridge makes",
    "ce-": "is an attribute of the event, which the bridge writes",
    "runbridge-": "is the bridge's own",
}
"""Headers that a webhook can't be given, and why; those that end with a hyphen are the beginning of their names."""


def name(text: str) -> str:
    """Returns the name of a header that may be added to the request for a stream (a token of RFC 9110).

    Raises:
        ValueError: no such name, or a header that the bridge or the connection sets itself.
    """
    if _token(text) in _OF_A_STREAM | _HOP_BY_HOP:
        raise ValueError("is a header that the bridge sets itself; remove it")
    return text


def webhook_name(text: str) -> str:
    """Returns the name of a header that may be added to a webhook (a token of RFC 9110).

    Raises:
        ValueError: no such name, or a header of `_REFUSED` or of the connection; says why.
    """
    lower = _token(text)
    for refused, reason in _REFUSED.items():
        if lower == refused or (refused.endswith("-") and lower.startswith(refused)):
            raise ValueError(f"can't be added: it {reason}; remove it")
    if lower in _HOP_BY_HOP:
        raise ValueError("can't be added: it is about the connection, which the bridge keeps; remove it")
    return text


def _token(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("is no header's name; expected letters, digits and - such as in X-Api-Key")
    return text.lower()


def value(text: str) -> str:
    """Returns the value of a header.

    Raises:
        ValueError: empty, over 4096 characters, a space at an end, a line break, or a character outside ASCII.
    """
    if not _VALUE.fullmatch(text):
        state = "has a space at an end or a character that no header can have, or is too long" if text else "is empty"
        raise ValueError(f"{state}; expected 1 to 4096 visible ASCII characters, with spaces only between them")
    return text


def webhook_value(text: str) -> str:
    """Returns the value of a webhook's header.

    Raises:
        ValueError: empty, over 8192 characters, a space or tab at an end, a line break, or a character outside ASCII.
    """
    if not _WEBHOOK_VALUE.fullmatch(text):
        state = "has a space at an end or a character that no header can have, or is too long" if text else "is empty"
        raise ValueError(f"{state}; expected visible ASCII characters, with spaces and tabs only between them")
    return text


def bounded(headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    """Returns headers that are neither too many nor too large together.

    Raises:
        ValueError: more than 64, or more than 8 KiB of names and values.
    """
    size = sum(len(header) + len(content.get_secret_value()) for header, content in headers.items())
    if len(headers) > MOST:
        raise ValueError(f"are {len(headers)}, those of header_files among them; at most {MOST} can be added")
    if size > MOST_BYTES:
        raise ValueError(f"have {size} bytes, those of header_files among them; at most {MOST_BYTES} can be added")
    return headers


def twice(headers: Mapping[str, Any], files: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """Yields key and name of each header that is there already, and the place of the first one.

    A name counts without regard to case (RFC 9110, section 5.1).
    """
    seen: dict[str, tuple[str, str]] = {}
    for place in [*(("headers", header) for header in headers), *(("header_files", header) for header in files)]:
        first = seen.setdefault(place[1].lower(), place)
        if first != place:
            yield *place, first
