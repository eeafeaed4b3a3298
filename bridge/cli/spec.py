"""The keys of a source or destination from a file and from options, as the control commands take them. Judges none."""

import json
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from bridge.commands import Spec

LARGEST = 1 << 20
"""Bytes of a file."""

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", metavar="KEY=VALUE",
        help='A key as in the configuration, its value as in TOML ("text" may do without quotes); may be repeated.',
    ),
]  # fmt: skip
UnsetOption = Annotated[
    list[str] | None, typer.Option("--unset", metavar="KEY", help="Leave a key away; may be repeated.")
]
FileOption = Annotated[
    str | None,
    typer.Option(
        "--file", "-f", metavar="FILE",
        help="All keys, from a file in TOML or (.json) JSON, as in the configuration's table; - for standard input.",
    ),
]  # fmt: skip


class Unreadable(Exception):  # a reason on its way to whoever typed it
    """Why the keys can't be had."""


def spec_of(
    file: str | None, named: Mapping[str, Any], pairs: Iterable[str], unset: Iterable[str] = ()
) -> Spec:  # fmt: skip
    """The keys of the file, over them the named options that were given, over those the pairs `KEY=VALUE`.

    A key of `unset` becomes None, which takes it away in a merge patch (RFC 7396). Raises Unreadable.
    """
    spec: Spec = _in_file(file) if file else {}
    for key, value in named.items():
        if value:
            spec[key] = value
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise Unreadable("--set: expected KEY=VALUE")
        _put(spec, _path(key.strip(), "--set"), _value(key, text.strip()))
    for key in unset:
        _put(spec, _path(key, "--unset"), None)
    plain: Spec = msgspec.json.decode(msgspec.json.encode(spec))  # a time of TOML becomes its text
    return plain


def secret_in(path: str) -> str:
    """What a secret's file holds, without the white space around it. Raises Unreadable, without showing it."""
    return _text(path).strip()


def _in_file(name: str) -> Spec:
    text = _text(name)
    form: Literal["JSON", "TOML"] = "JSON" if name.endswith(".json") or text.lstrip()[:1] == "{" else "TOML"
    try:
        found = json.loads(text) if form == "JSON" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{name} is not valid {form}: {error}") from None
    if not isinstance(found, dict):
        raise Unreadable(f"{name} holds no JSON object")
    return found


def _text(name: str) -> str:
    try:
        if name == "-":
            content = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(name).open("rb") as opened:
                content = opened.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise Unreadable(f"{name} is larger than {LARGEST} bytes")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise Unreadable(f"{name} can't be read: {(error.strerror or 'input/output error').lower()}") from None
    except UnicodeDecodeError:
        raise Unreadable(f"{name} is not text in UTF-8") from None


def _path(key: str, option: str) -> Sequence[str]:
    """The parts of a dotted key, as TOML reads it."""
    try:
        here: Any = tomllib.loads(f"{key} = 0")
    except ValueError:
        raise Unreadable(
            f"{option} {key}: is no key; write it as in the configuration, such as batch.max_events"
        ) from None
    path = []
    while isinstance(here, dict):
        if len(here) != 1:
            raise Unreadable(f"{option} {key}: expected one key")
        ((part, here),) = here.items()
        path.append(part)
    return path


def _value(key: str, text: str) -> Any:  # noqa: ANN401  # whatever TOML has
    try:
        found = tomllib.loads(f"value = {text}")
    except ValueError as error:
        if text[:1] in {'"', "'", "[", "{"}:  # meant as TOML
            raise Unreadable(f"--set {key}: the value is not valid TOML: {error}") from None
        return text
    return found["value"] if len(found) == 1 else text


def _put(spec: Spec, path: Sequence[str], value: object) -> None:
    here = spec
    for part in path[:-1]:
        inner = here.setdefault(part, {})
        if not isinstance(inner, dict):
            inner = here[part] = {}
        here = inner
    here[path[-1]] = value
