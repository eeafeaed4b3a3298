"""Judges the texts that are neither numbers nor addresses: names, secrets, selectors, paths. Pure.

No error here repeats the text: it may be a secret that was put in the wrong place.
"""

import re
import unicodedata

from bridge.signing import key_of

NAME_FORM = "1 to 128 letters, digits and . _ : -"

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")


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
    if not 1 <= len(text) <= 128:
        raise ValueError("expected 1 to 128 characters")
    if text in {".", ".."}:
        raise ValueError('can\'t be "." or "..", which mean a step in a path')
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
