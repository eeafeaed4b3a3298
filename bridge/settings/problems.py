"""Says in people's words what the models refused. Pure; never repeats a value, for any may be a secret."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bridge.settings.schema import Settings
from bridge.settings.shape import ENTRIES, PLANNED_KINDS, TABLES, Finding, Path, expected, keys, unknown_key


def findings(error: ValidationError, document: dict[str, Any]) -> Iterator[Finding]:
    """Every refusal of the models, at its key path in `document`, which they were given."""
    for detail in error.errors(include_url=False, include_input=False):
        yield _finding(detail, document)


def _finding(detail: ErrorDetails, document: dict[str, Any]) -> Finding:
    location: Path = tuple(detail["loc"])
    if detail["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        return _untold(location, document)
    path, fields = _place(location)
    key = str(path[len(path) - 2 if isinstance(path[-1], int) else -1])
    if detail["type"] == "extra_forbidden":
        return Finding(path, unknown_key(key, fields))
    if detail["type"] == "value_error":
        return Finding(path, str(detail["ctx"]["error"]))
    if key not in fields:
        return Finding(path, f"expected a table: {_header(path)} and its keys below")
    lead = "is missing; expected" if detail["type"] == "missing" else "expected"
    return Finding(path, f"{lead} {expected(fields[key], item=isinstance(path[-1], int))}")


def _place(location: Path) -> tuple[Path, dict[str, Any]]:
    """The key path of a model's location, and the keys that its table has; none for a table itself."""
    section = str(location[0])
    if section in ENTRIES and len(location) > 2:
        entries = ENTRIES[section]
        if not entries.tag:
            return location, keys(entries.models[""])
        return location[:2] + location[3:], keys(entries.models[str(location[2])])  # [2] is the tag's value
    if section in TABLES and len(location) > 1:
        return location, keys(TABLES[section])
    return location, {} if section in TABLES or section in ENTRIES else keys(Settings)


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
    if isinstance(given, str) and given in PLANNED_KINDS:
        return Finding(path, f'"{given}" is planned and not built yet; those there are: {known}')
    return Finding(path, f"there is no such {entries.tag}; expected one of: {known}")
