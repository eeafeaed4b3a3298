"""What may be given only once: a secret or its file, and a header in any case. Pure; never repeats a value."""

from collections.abc import Iterator
from typing import Any

from bridge.settings import headers
from bridge.settings.redis_url import has_password
from bridge.settings.shape import Finding, Path, table, text_of, written


def secret(path: Path, entry: dict[str, Any], key: str, *, required: bool = False) -> Iterator[Finding]:
    """Finds a secret that is given beside its file, or neither where it is required."""
    named = f"{key}_file"
    if key in entry and named in entry:
        yield Finding((*path, key), f"is given twice, here and in {named}; remove one of them")
    elif required and key not in entry and named not in entry:
        yield Finding((*path, key), f"is missing; give it here, in a file named by {named}, or in the environment")


def password(path: Path, entry: dict[str, Any]) -> Iterator[Finding]:
    """Finds a password of Redis that is given twice: here, in its file, in the URL."""
    yield from secret(path, entry, "password")
    given = next((key for key in ("password", "password_file") if key in entry), "")
    if given and has_password(text_of(entry, "url")):
        yield Finding((*path, given), "is given twice, here and in url; remove one of them")


def header(path: Path, entry: dict[str, Any]) -> Iterator[Finding]:
    """Finds each header that is in `headers` or `header_files` already."""
    for key, name, first in headers.twice(table(entry, "headers"), table(entry, "header_files")):
        yield Finding((*path, key, name), f"is given twice, here and in {written(first)}; remove one of them")
