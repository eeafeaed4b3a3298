"""Says in people's words what the models refused. Pure; never repeats a value, for any may be a secret."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bridge.settings.schema import Settings
from bridge.settings.shape import ENTRIES, TABLES, Finding, Path, expected, keys, unknown_key

_HEADER = 5
"""Parts of the location of a header: sources, id, kind, `headers`, name."""


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
        return Finding(path, unknown_key(key, fields))
    if detail["type"] == "value_error":
        return Finding(path, str(detail["ctx"]["error"]))
    if key not in fields:
        return Finding(path, f"expected a table: {_header(path)} and its keys below")
    lead = "is missing; expected" if detail["type"] == "missing" else "expected"
    return Finding(path, f"{lead} {expected(fields[key], item=len(path) > depth + 1)}")


def _place(location: Path) -> tuple[Path, int, dict[str, Any]]:
    """The key path of a model's location, where in it the key is, and the keys of its table (none for a table)."""
    section = str(location[0])
    if location[-1] == "[key]" and len(location) > _HEADER:  # the name in a table of headers, not its value
        location = location[:-1]
    if section in ENTRIES and len(location) > 2:
        entries = ENTRIES[section]
        if not entries.tag:
            return location, 2, keys(entries.models[""])
        return location[:2] + location[3:], 2, keys(entries.models[str(location[2])])  # [2] is the tag's value
    if section in TABLES and len(location) > 1:
        return location, 1, keys(TABLES[section])
    return location, 0, {} if section in TABLES or section in ENTRIES else keys(Settings)


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
