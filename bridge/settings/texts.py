"""Judges the texts that are neither numbers nor addresses: names, secrets, selectors, headers, times. Pure.

No error here repeats the text: it may be a secret that was put in the wrong place.
"""

import re
import unicodedata
from datetime import datetime

from bridge.signing import key_of

NAME_FORM = "1 to 128 letters, digits and . _ : -"
TIME_FORM = 'a time such as "2026-10-03T00:00:00Z"'

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_ASCII = re.compile(r"[\x21-\x7e]{0,128}")
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")  # RFC 6901, section 3
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")  # a token of RFC 9110, section 5.6.2
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,4094}[\x21-\x7e])?")
_OUR_HEADERS = frozenset({"accept", "accept-encoding", "cache-control", "last-event-id", "host", "content-length"})
_HOP_BY_HOP = frozenset(  # RFC 9110, section 7.6.1; RFC 2616, section 13.5.1
    {
        "connection", "transfer-encoding", "keep-alive", "proxy-connection", "proxy-authenticate",
        "proxy-authorization", "te", "trailer", "trailers", "upgrade", "expect", "http2-settings",
    }
)  # fmt: skip


def name(text: str) -> str:
    """Returns an id that is safe in keys, logs and metrics.

    Raises:
        ValueError: not 1 to 128 of the characters of `NAME_FORM`.
    """
    if not _NAME.fullmatch(text):
        raise ValueError(f"expected {NAME_FORM}")
    return text


def name_or_empty(text: str) -> str:
    """Returns an id or the empty text. Raises ValueError as `name` does."""
    return name(text) if text else text


def selector(text: str) -> str:
    """Returns what names one thing upstream; it is sent percent-encoded, as one segment of a path or query.

    Raises:
        ValueError: empty, over 128 characters, with control characters, or a dot segment (RFC 3986, 5.2.4).
    """
    if text in {".", ".."}:
        raise ValueError('can\'t be "." or "..", which mean a step in a path')
    return label(text)


def label(text: str) -> str:
    """Returns a short text.

    Raises:
        ValueError: empty, over 128 characters, or with control characters.
    """
    if not 1 <= len(text) <= 128:
        raise ValueError("expected 1 to 128 characters")
    return _visible(text)


def one_or_more(value: object) -> object:
    """Returns a text as a list of one, and anything else as it is. Raises ValueError as `selector` does."""
    return (selector(value),) if isinstance(value, str) else value


def ascii_text(text: str) -> str:
    """Returns a text that is safe in a header and as a parameter's name.

    Raises:
        ValueError: not 1 to 128 visible ASCII characters.
    """
    if not text:
        raise ValueError("is empty; expected 1 to 128 visible ASCII characters")
    return ascii_or_empty(text)


def ascii_or_empty(text: str) -> str:
    """Returns such a text or the empty one.

    Raises:
        ValueError: over 128 characters, a space, or a character outside ASCII.
    """
    if not _ASCII.fullmatch(text):
        raise ValueError("expected at most 128 visible ASCII characters, no space among them")
    return text


def pointer(text: str) -> str:
    """Returns a JSON pointer (RFC 6901); the empty one is the whole document.

    Raises:
        ValueError: doesn't start with a slash, a `~` that is neither `~0` nor `~1`, or over 1024 characters.
    """
    if len(text) > 1024 or not _POINTER.fullmatch(text):
        raise ValueError(
            'expected a JSON pointer such as "/data/id": "" or a text that starts with "/", with "~0" for "~" and '
            '"~1" for "/" in a name'
        )
    return text


def time(value: object) -> str:
    """Returns a time with its offset as a text (RFC 3339); TOML's own are taken too.

    Raises:
        ValueError: another form, no such day or hour, or no offset.
    """
    if isinstance(value, datetime):
        value = value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("there is no such time") from None
        return value
    raise ValueError(f"expected {TIME_FORM}, with Z or an offset such as +02:00 at its end")


def begin_or_time(value: object) -> str:
    """Returns "upstream", "start", "now" or a time. Raises ValueError as `time` does."""
    if isinstance(value, str) and value in {"upstream", "start", "now"}:
        return value
    try:
        return time(value)
    except ValueError as error:
        raise ValueError(f'{error}; or one of "upstream", "start", "now"') from None


def header_name(text: str) -> str:
    """Returns the name of a header that may be added to a request (a token of RFC 9110).

    Raises:
        ValueError: no such name, or a header that the bridge or the connection sets itself.
    """
    if not _HEADER_NAME.fullmatch(text):
        raise ValueError("is no header's name; expected letters, digits and - such as in X-Api-Key")
    if text.lower() in _OUR_HEADERS | _HOP_BY_HOP:
        raise ValueError("is a header that the bridge sets itself; remove it")
    return text


def header_value(text: str) -> str:
    """Returns the value of a header.

    Raises:
        ValueError: empty, over 4096 characters, a space at an end, a line break, or a character outside ASCII.
    """
    if not _HEADER_VALUE.fullmatch(text):
        state = "has a space at an end or a character that no header can have, or is too long" if text else "is empty"
        raise ValueError(f"{state}; expected 1 to 4096 visible ASCII characters, with spaces only between them")
    return text


def local_path(text: str) -> str:
    """Returns a path of this machine.

    Raises:
        ValueError: empty, with control characters, or starting with a tilde.
    """
    if not text or text.startswith("~"):
        raise ValueError('expected a path; a leading "~" is not expanded, so write the directory out')
    return _visible(text)


def directory(text: str) -> str:
    """Returns a path or the empty text. Raises ValueError as `local_path` does."""
    return local_path(text) if text else text


def token(text: str) -> str:
    """Returns a secret that goes into an HTTP header.

    Raises:
        ValueError: empty, longer than 4096 characters, or with a space or a character outside ASCII.
    """
    if not _TOKEN.fullmatch(text):
        state = "has a space or a character outside ASCII, or is too long" if text else "is empty"
        raise ValueError(f"{state}; expected 1 to 4096 visible ASCII characters")
    return text


def password(text: str) -> str:
    """Returns a secret that Redis asks for.

    Raises:
        ValueError: empty, or with control characters.
    """
    if not text:
        raise ValueError("is empty; remove the key where Redis asks for no password")
    return _visible(text)


def webhook_secret(text: str) -> str:
    """Returns a Standard Webhooks secret.

    Raises:
        ValueError: not `whsec_` and the base64 of 24 to 64 bytes.
    """
    try:
        key_of(text)
    except ValueError as error:
        raise ValueError(f"{error}; expected whsec_ and the base64 of 24 to 64 random bytes") from None
    return text


def _visible(text: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise ValueError("has a control character in it")
    return text
