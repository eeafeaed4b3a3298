"""Judges the texts that are neither numbers nor addresses: names, secrets, selectors, templates, times. Pure.

No error here repeats the text: it may be a secret that was put in the wrong place.
"""

import re
import unicodedata
from datetime import datetime

from bridge.delivery.filter import MAX_GLOB, Filter, FilterError
from bridge.delivery.template import Template
from bridge.signing import signing_key

SECRET_FORM = "whsec_ and the base64 of 24 to 64 random bytes, or whsk_ and that of an ed25519 key"  # noqa: S105  # words
NAME_FORM = "1 to 128 letters, digits and . _ : -"
TIME_FORM = 'a time such as "2026-10-03T00:00:00Z"'

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_ASCII = re.compile(r"[\x21-\x7e]{0,128}")
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")  # RFC 6901, section 3
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_FIELD = re.compile(r"\{\{|\}\}|(\{[^{}]*\})")


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


def start_or_time(value: object) -> str:
    """Returns "start", "now" or a time. Raises ValueError as `time` does."""
    if isinstance(value, str) and value in {"start", "now"}:
        return value
    try:
        return time(value)
    except ValueError as error:
        raise ValueError(f'{error}; or one of "start", "now"') from None


def glob(text: str) -> str:
    """Returns a pattern for an attribute of events.

    Raises:
        ValueError: empty, over 1024 characters, or with control characters.
    """
    if not 1 <= len(text) <= MAX_GLOB:
        raise ValueError(f"expected 1 to {MAX_GLOB} characters; leave the list empty for all")
    return _visible(text)


def expression(text: str) -> str:
    """Returns a filter's expression, or the empty text for none.

    Raises:
        ValueError: it isn't one; says where, without the text.
    """
    try:
        Filter(expression=text)
    except FilterError as error:  # the lines behind the first one show the text
        raise ValueError(str(error).partition("\n")[0]) from None
    return text


def stream_template(text: str) -> str:
    """Returns the template of a stream's key.

    Raises:
        ValueError: with a control character, nothing outside its fields, or what `Template` refuses.
    """
    Template(text)
    if not _FIELD.sub(lambda found: "" if found[1] else found[0], text).strip():
        raise ValueError('has nothing outside its fields, and could be any key; begin it with a word: "runs:{subject}"')
    return _visible(text)


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
        ValueError: neither `whsec_` and the base64 of 24 to 64 bytes nor `whsk_` and that of an ed25519 key.
    """
    if text.startswith("whpk_"):
        raise ValueError("is the public key, which receivers verify with; expected the secret one, whsk_...")
    try:
        signing_key(text)
    except ValueError as error:
        raise ValueError(f"{error}; expected {SECRET_FORM}") from None
    return text


def _visible(text: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise ValueError("has a control character in it")
    return text
