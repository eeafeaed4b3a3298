"""One operation of the API as a value: what the router and the OpenAPI document are both made from. Does no I/O."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from bridge.errors import Problem
from bridge.http_api.body import JSON
from bridge.http_api.problem import Refused

STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has been judged and read: `query` and `body` are of the kinds that the operation names."""

    request: web.Request
    path: Mapping[str, str]
    query: Any = None
    body: Any = None


@dataclass(frozen=True, slots=True)
class Says:
    """An answer with its status. `kind` is a struct, a JSON schema, or None for no body."""

    status: int
    description: str
    kind: Any = None
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    """Name -> what it is."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries: a struct, which is read here, or the name of one of the specs' JSON schemas."""

    kind: type[Struct] | Literal["sources", "destinations"]
    types: tuple[str, ...] = (JSON,)
    required: bool = True
    named: bool = False
    """With an `id` beside the spec's keys."""
    patch: bool = False
    """A merge patch (RFC 7396) of the spec."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A method on a path; `name` is its operationId. `free`: needs no token. `follows`: an endless answer."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    name: str
    summary: str
    handler: Callable[[Call], Awaitable[web.StreamResponse]]
    says: Sequence[Says]
    query: type[Struct] | None = None
    body: Body | None = None
    refuses: tuple[int, ...] = ()
    """Statuses of problem details, besides those that any operation may have."""
    free: bool = False
    follows: bool = False
    tag: str = ""

    @property
    def parameters(self) -> list[str]:
        """The names in the path."""
        return re.findall(r"{(\w+)}", self.path)


@dataclass(frozen=True, slots=True)
class Part:
    """A parameter in a path."""

    pattern: str
    words: str
    example: str


ENTRY = r"[0-9]{1,19}-[0-9]{1,19}"
"""An id in a stream: both parts are below 2**64, and no clock comes near 10**19 ms."""
_ENTRY = Part(rf"^[0-9]{{1,6}}-{ENTRY}$", "expected <partition>-<milliseconds>-<number>", "0-1795348800123-0")
PARTS: Mapping[str, Part] = {
    "id": Part(r"^[A-Za-z0-9._:-]{1,128}$", "expected 1 to 128 letters, digits and . _ : -", "checkout"),
    "run": Part(r"^[^/\x00-\x1f\x7f]{1,128}$", "expected a run's id, 1 to 128 characters", "0b0c"),
    "replay": Part(r"^[0-9a-z]{1,32}$", "expected a replay's id", "5f2c81d0"),
    "letter": _ENTRY,
    "record": _ENTRY,
    "entry": Part(
        rf"^([0-9]{{1,6}}-)?{ENTRY}$",
        "expected <partition>-<milliseconds>-<number>, as a thin event's dataref has it", "0-1795348800123-0",
    ),
}  # fmt: skip
"""What each name in a path stands for."""


def path_of(request: web.Request) -> dict[str, str]:
    """The path's parameters. Raises Refused with 400 where one can't be any."""
    found = dict(request.match_info)
    wrong = [
        Problem(name, part.words)
        for name, text in found.items()
        if not re.fullmatch((part := PARTS[name]).pattern, text, re.ASCII)
    ]
    if wrong:
        raise Refused(400, wrong[0].message, tuple(wrong))
    return found


def place_of(text: str) -> tuple[int, str]:
    """Partition and id of a text like `0-1795348800123-0`; partition 0 where it names none."""
    *partition, milliseconds, number = text.split("-")
    return int(partition[0]) if partition else 0, f"{int(milliseconds)}-{int(number)}"


def read_query(request: web.Request, kind: type[Struct] | None) -> Struct | None:
    """The query as a struct. Raises Refused with every mistake in it."""
    values: dict[str, Any] = {}
    problems = []
    known = {} if kind is None else {each.encode_name: each for each in msgspec.structs.fields(kind)}
    for name in dict.fromkeys(request.query):
        texts = request.query.getall(name)
        if name not in known:
            allowed = f"those known are: {', '.join(known)}" if known else "there is none here"
            problems.append(Problem(name[:100], f"is no parameter; {allowed}"))
        elif isinstance(known[name].default_factory, type):  # a list
            values[name] = texts
        elif len(texts) > 1:
            problems.append(Problem(name, "is given more than once"))
        else:
            values[name] = texts[0]
    found, wrong = (None, []) if kind is None else _read(kind, values, strict=False)
    if problems or wrong:
        raise Refused(400, "the query can't be used", (*problems, *wrong))
    return found


def read_struct(kind: type[Struct], value: object) -> Struct:
    """A JSON value as a struct. Raises Refused with every mistake in it."""
    if not isinstance(value, dict):
        raise Refused(422, "the body can't be used", (Problem("", "expected an object"),))
    known = [each.encode_name for each in msgspec.structs.fields(kind)]
    problems = [
        Problem(name[:100], f"there is no such key; those known are: {', '.join(known)}")
        for name in value
        if name not in known
    ]
    found, wrong = _read(kind, {name: each for name, each in value.items() if name in known}, strict=True)
    if problems or wrong or found is None:
        raise Refused(422, "the body can't be used", (*problems, *wrong))
    return found


def _read(kind: type[Struct], values: Mapping[str, Any], *, strict: bool) -> tuple[Struct | None, list[Problem]]:
    problems, read = [], {}
    for each in msgspec.structs.fields(kind):
        name = each.encode_name
        if name not in values:
            if each.required:
                problems.append(Problem(name, "is required"))
            continue
        try:
            read[each.name] = msgspec.convert(values[name], each.type, strict=strict)
        except msgspec.ValidationError as error:
            problems.append(_problem(name, str(error)))
    return (None if problems else kind(**read)), problems


def _problem(name: str, text: str) -> Problem:
    """From the library's words, such as "Expected `int`, got `str` - at `$[1]`"."""
    message, _, path = text.partition(" - at `$")
    return Problem(name + path.rstrip("`"), message[:1].lower() + message[1:].replace("`", ""))
