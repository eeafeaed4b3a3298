"""Reads the configuration file and the files it names, bounded. Refuses to show what is in them."""

import re
import stat
import tomllib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from bridge.errors import ConfigurationError, Problem
from bridge.settings import headers, shape
from bridge.settings.destinations import REDIS, WEBHOOK, kind_of
from bridge.settings.redis_url import EMBEDDED
from bridge.settings.shape import Finding
from bridge.signing import signing_key

LARGEST_CONFIGURATION = 1 << 20
LARGEST_SECRET = 64 << 10

UNREAD = "whsec_" + "A" * 32
"""Stands for a secret whose file can't be read, so that no more is said about it. Never leaves `load`."""

_SECRET_LIKE = re.compile(r"wh(?:sec|sk|pk)_|sk[-_]|(?i:bearer|basic) |eyJ|.*://|(?=[^/]*[0-9])[^/.]{16,}$", re.DOTALL)
"""A webhook secret, a usual form of API key or header, a JSON Web Token, a URL, or a long word with a digit in it."""


class Unreadable(Exception):  # a reason on its way to a Finding, never seen outside the settings
    """Why a file can't be used, to follow its path."""


def document(path: Path) -> dict[str, Any]:
    """Returns the tables of a TOML file of at most 1 MiB.

    Raises:
        ConfigurationError: it can't be read, or isn't TOML (with line and column).
    """
    text = ""
    try:
        text = text_in(path, LARGEST_CONFIGURATION)
        return tomllib.loads(text)
    except Unreadable as error:
        problem = Problem("", f"the configuration file {_line(path)} {error}")
    except RecursionError:
        problem = Problem("", f"{_line(path)} nests its values too deeply")
    except ValueError as error:  # of which TOMLDecodeError is one; names line and column, no values
        *_, last = text.splitlines() or [""]
        end = f"at line {len(text.splitlines())}, column {len(last) + 1}, the end"
        problem = Problem("", f"{_line(path)} is not valid TOML: {error}".replace("at end of document", end))
    raise ConfigurationError((problem,))


def resolve_paths(tables: dict[str, Any], base: Path) -> None:
    """Makes the directories and TLS files that the configuration names absolute, from the directory of its file."""
    spool = tables.get("spool")
    if isinstance(spool, str) and spool and not spool.startswith("~"):
        tables["spool"] = str(base / spool)
    redis = shape.table(tables, "redis")
    url = redis.get("url")
    if isinstance(url, str) and url.startswith(EMBEDDED):
        path = url.removeprefix(EMBEDDED)
        if path.strip() and not path.startswith(("~", "//")):
            redis["url"] = f"{EMBEDDED}{base / path}"
    for _, destination in shape.entries(tables, "destinations"):
        tls = shape.table(destination, "tls")
        for key in ("ca_file", "cert_file", "key_file"):
            if _is_path(tls.get(key)):
                tls[key] = str(base / tls[key])


def read_secrets(tables: dict[str, Any], base: Path) -> Iterator[Finding]:
    """Puts the content of every secret's file beside the key that names it; yields what can't be read.

    Makes `secret_files` absolute, which are looked at again later: `bridge.secret_files`.
    """
    for path, entry, key in _single(tables):
        named = entry.get(f"{key}_file")
        if isinstance(named, str) and key not in entry:
            entry[key] = yield from _secret((*path, f"{key}_file"), named, base)
    yield from _headers(tables, base)
    for name, entry in shape.entries(tables, "destinations"):
        if kind_of(entry) != WEBHOOK:
            continue
        inline, named = entry.get("secrets", []), entry.get("secret_files")
        if isinstance(inline, list) and isinstance(named, list):
            entry["secrets"] = list(inline)
            for at, text in enumerate(named):
                if isinstance(text, str):
                    where = ("destinations", name, "secret_files", at)
                    secret = yield from _secret(where, text, base)
                    problem = _problem(secret)
                    if problem:  # told where the file is named: the list that it joins is not in the configuration
                        yield Finding(where, f"the file {_line(base / text)} holds no secret: {problem}")
                    entry["secrets"].append(UNREAD if problem else secret)
            entry["secret_files"] = [str(base / text) if _is_path(text) else text for text in named]


def _problem(secret: str) -> str:
    """What is wrong with a secret that was read, without showing it; "" for nothing."""
    if secret == UNREAD:
        return ""
    try:
        signing_key(secret)
    except ValueError as error:
        return str(error)
    return ""


def _is_path(text: object) -> bool:
    return isinstance(text, str) and text != "" and not text.startswith("~")


def _headers(tables: dict[str, Any], base: Path) -> Iterator[Finding]:
    for path, entry, judge in _with_headers(tables):
        named, inline = shape.table(entry, "header_files"), entry.get("headers", {})
        if not named or not isinstance(inline, dict):
            continue
        entry["headers"] = dict(inline)
        for header, text in named.items():
            if isinstance(text, str) and _is_header(header, judge) and header not in inline:
                secret = yield from _secret((*path, "header_files", header), text, base)
                entry["headers"][header] = secret


def _with_headers(tables: dict[str, Any]) -> Iterator[tuple[shape.Path, dict[str, Any], Callable[[str], str]]]:
    for name, entry in shape.entries(tables, "sources"):
        if shape.text_of(entry, "kind") == "sse":
            yield ("sources", name), entry, headers.name
    for name, entry in shape.entries(tables, "destinations"):
        if kind_of(entry) == WEBHOOK:
            yield ("destinations", name), entry, headers.webhook_name


def _is_header(name: str, judge: Callable[[str], str]) -> bool:
    """Whether a header may be called this; if not, that is told already."""
    try:
        return bool(judge(name))
    except ValueError:
        return False


def _single(tables: dict[str, Any]) -> Iterator[tuple[shape.Path, dict[str, Any], str]]:
    yield ("redis",), shape.table(tables, "redis"), "password"
    yield ("http",), shape.table(tables, "http"), "token"
    for name, entry in shape.entries(tables, "accounts"):
        yield ("accounts", name), entry, "api_key"
    for name, entry in shape.entries(tables, "destinations"):
        if kind_of(entry) == REDIS:
            yield ("destinations", name), entry, "password"


def _secret(path: shape.Path, named: str, base: Path) -> Generator[Finding, None, str]:
    """The content of a secret's file without the white space around it."""
    try:
        content = text_in(base / named, LARGEST_SECRET, regular=True).strip()
        if content:
            return content
        reason = "is empty"
    except Unreadable as error:
        reason = str(error)
    if _SECRET_LIKE.match(named):
        yield Finding(path, f"names a file that {reason}; if this is the secret itself, it belongs in another key")
    else:
        yield Finding(path, f"the file {_line(base / named)} {reason}")
    return UNREAD


def text_in(path: Path, largest: int, *, regular: bool = False) -> str:
    """Returns the text of a file of at most `largest` bytes; `regular` refuses pipes and devices. Raises Unreadable."""
    try:
        if regular and not stat.S_ISREG(path.stat().st_mode):  # a pipe could keep the start waiting for ever
            raise Unreadable("is not a regular file")
        with path.open("rb") as file:
            content = file.read(largest + 1)
        if len(content) > largest:
            raise Unreadable(f"is larger than {largest >> 10} KiB")
        return content.decode("utf-8-sig")  # some editors start a file with a byte order mark
    except FileNotFoundError:
        raise Unreadable("does not exist") from None
    except OSError as error:
        raise Unreadable(f"can't be read: {(error.strerror or 'input/output error').lower()}") from None
    except UnicodeDecodeError:
        raise Unreadable("is not UTF-8 text") from None
    except ValueError:  # a NUL in the path
        raise Unreadable("has a name that no file can have") from None


def _line(path: Path) -> str:
    return shape.one_line(str(path))
