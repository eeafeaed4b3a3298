"""Says in people's words what the models refused. Pure; never repeats a value, for any may be a secret."""

from collections.abc import Iterator
from typing import Any

from pydantic import Discriminator, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bridge.settings.schema import Settings
from bridge.settings.shape import ENTRIES, TABLES, Finding, Path, expected, inner, keys, unknown_key

_HEADER = 5
"""Parts of the location of a header: the section, id, kind, `headers`, name."""


def findings(error: ValidationError, document: dict[str, Any]) -> Iterator[Finding]:
    """Every refusal of the models, at its key path in `document`, which they were given."""
    for detail in error.errors(include_url=False, include_input=False):
        yield _finding(detail, document)


def _finding(detail: ErrorDetails, document: dict[str, Any]) -> Finding:
    location: Path = tuple(detail["loc"])
    if detail["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        return _untold(location, document)
    path, depth, fields = _place(location)
    key = str(path[min(depth, len(path) - 1)])
    if detail["type"] == "extra_forbidden":
        return Finding(path, unknown_key(key, fields, _kind(location) if depth == 2 else "here"))
    if detail["type"] == "value_error":
        return Finding(path, str(detail["ctx"]["error"]))
    if key not in fields:
        return Finding(path, f"expected a table: {_header(path)} and its keys below")
    lead = "is missing; expected" if detail["type"] == "missing" else "expected"
    return Finding(path, f"{lead} {expected(fields[key], item=len(path) > depth + 1)}")


def _place(location: Path) -> tuple[Path, int, dict[str, FieldInfo]]:
    """The key path of a model's location, where in it the key is, and the keys of its table (none for a table)."""
    section = str(location[0])
    if location[-1] == "[key]" and len(location) > _HEADER:  # the name in a table of headers, not its value
        location = location[:-1]
    if section in ENTRIES and len(location) > 2:
        if len(location) == 3:
            return location[:2], 1, {}
        return _within(location[:2] + location[3:], 2, keys(ENTRIES[section].models[str(location[2])]))
    if section in TABLES and len(location) > 1:
        return location, 1, keys(TABLES[section])
    return location, 0, {} if section in TABLES or section in ENTRIES else keys(Settings)


def _within(path: Path, depth: int, fields: dict[str, FieldInfo]) -> tuple[Path, int, dict[str, FieldInfo]]:
    """The same for a table within a table; where a value may also have another form, the form's name is left out."""
    field = fields.get(str(path[depth]))
    if field is None or len(path) == depth + 1:
        return path, depth, fields
    if any(isinstance(found, Discriminator) for found in field.metadata):
        path = path[: depth + 1] + path[depth + 2 :]
    model = inner(field)
    if model is None or len(path) == depth + 1 or isinstance(path[depth + 1], int):
        return path, depth, fields
    return path, depth + 1, keys(model)


def _kind(location: Path) -> str:
    told = ENTRIES[str(location[0])].told
    return f"of {told[str(location[2])]}" if told else "here"


def _header(path: Path) -> str:
    section = str(path[0])
    return f"[{section}]" if section in TABLES else f"[{section}.NAME]"


def _untold(location: Path, document: dict[str, Any]) -> Finding:
    """An entry's model can't be told: its tag (source's kind, account's provider) is missing or unknown."""
    section, name = str(location[0]), str(location[1])
    entries = ENTRIES[section]
    path = (*location, entries.tag)
    known = ", ".join(f'"{value}"' for value in entries.models)
    given = document[section][name].get(entries.tag)
    if given is None:
        return Finding(path, f"is missing; expected one of: {known}")
    return Finding(path, f"there is no such {entries.tag}; expected one of: {known}")
