"""Which tables and keys there are, and how a key path is written for people. Pure; adds no key of its own."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bridge.settings import destinations, forms, schema, sources
from bridge.settings.section import Section

Path = tuple[str | int, ...]
"""Keys from the top, and positions in lists."""


class Finding(NamedTuple):
    """Something wrong at a place of the configuration."""

    path: Path
    message: str


_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Entries:
    """A table of named tables: the key that tells their models apart; models by its value.

    Where the key isn't the model's name itself, `told` says in words what it tells, by the model's name.
    """

    tag: str
    models: Mapping[str, type[Section]]
    told: Mapping[str, str] = field(default_factory=dict)

    def keys(self) -> dict[str, FieldInfo]:
        """The keys of all models together."""
        return {key: field for model in self.models.values() for key, field in keys(model).items()}


TABLES: Mapping[str, type[Section]] = {
    "redis": schema.Redis,
    "log": schema.Log,
    "http": schema.Http,
    "logging": schema.Logging,
}
ENTRIES: Mapping[str, Entries] = {
    "accounts": Entries("provider", {"bctrl": schema.BctrlAccount, "anchor": schema.AnchorAccount}),
    "sources": Entries(
        "kind",
        {
            "bctrl.run-events.stream": sources.RunEventsStream,
            "bctrl.run-events.wait": sources.RunEventsWait,
            "bctrl.operation.wait": sources.OperationWait,
            "bctrl.invocation.wait": sources.InvocationWait,
            "bctrl.run.stream": sources.RunStream,
            "bctrl.events.stream": sources.EventsStream,
            "anchor.event.wait": sources.EventWait,
            "sse": sources.Sse,
        },
    ),
    "destinations": Entries(
        "url",
        {
            destinations.WEBHOOK: destinations.WebhookDestination,
            destinations.REDIS: destinations.RedisDestination,
        },
        {
            destinations.WEBHOOK: "a webhook (https:// or http://)",
            destinations.REDIS: "a stream in Redis (redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://)",
        },
    ),
}


def table(tables: Mapping[str, Any], section: str) -> dict[str, Any]:
    """A table as it was given, or an empty one where there is none or something else."""
    found = tables.get(section)
    return found if isinstance(found, dict) else {}


def entries(tables: Mapping[str, Any], section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The named tables of a table as they were given, with their names; leaves out what is no table."""
    for name, entry in table(tables, section).items():
        if isinstance(entry, dict):
            yield name, entry


def text_of(entry: Mapping[str, Any], key: str) -> str:
    """A text as it was given, or the empty one where there is none or something else."""
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def texts_of(entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The texts of a list as it was given; leaves out what is no text."""
    value = entry.get(key)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a table by the name they have in the file, tables within it included."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def inner(key: FieldInfo) -> type[Section] | None:
    """The model of a table within a table, or None where a key's value is none; the other forms it has don't count."""
    for part in (key.annotation, *get_args(key.annotation)):
        model = get_args(part)[0] if get_origin(part) is Annotated else part
        if isinstance(model, type) and issubclass(model, Section):
            return model
    return None


def expected(field: FieldInfo, *, item: bool = False) -> str:
    """The words for the form of a key's value, or of an item of its list, to follow "expected"."""
    found = _expects(field, item=item)
    return found.words if found else "a text"


def form(field: FieldInfo) -> str:
    """The form of a key's value in a few words, for a table."""
    found = _expects(field, item=False)
    return (found.form or found.words) if found else "text"


def _expects(field: FieldInfo, *, item: bool) -> forms.Expects | None:
    inner = getattr(field.annotation, "__args__", ())  # of `X | None` and `tuple[X, ...]`, where X is annotated
    metadata = [found for part in inner for found in getattr(part, "__metadata__", ())]
    if field.metadata and not item:
        metadata = field.metadata
    words = [found for found in metadata if isinstance(found, forms.Expects)]
    return words[-1] if words else None


def written(path: Path) -> str:
    """A key path as in TOML: `sources.checkout.types[2]`, quoted where a part needs it; always one line."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else _quoted(part))
    return text


def _quoted(part: str) -> str:
    return json.dumps(part[:100], ensure_ascii=not part.isprintable())


def one_line(text: str) -> str:
    """A text as it is, or quoted with its odd characters escaped where it couldn't be printed on one line."""
    short = text if len(text) <= 1000 else text[:1000] + "..."
    return short if short.isprintable() else json.dumps(short)


def nearest(word: str, known: Iterable[str]) -> str:
    """A question for the name that was probably meant, or a full stop."""
    near = difflib.get_close_matches(word[:100], list(known), n=1)
    return f'; did you mean "{one_line(near[0])}"?' if near else "."


def unknown_key(key: str, known: Iterable[str], place: str = "here") -> str:
    """What is said about a key that doesn't exist; `place` is what has the known ones, such as `of a webhook`."""
    names = list(known)
    return f"there is no such key{nearest(key, names)} The keys {place} are: {', '.join(names)}."
