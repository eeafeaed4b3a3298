"""Judges of an event's bytes: the project's JSON Schema, the `cloudevents` package, and the JSON grammar itself.

Refuses to import anything of the bridge but the schema's file.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # ships no types


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema as it is shipped, checked against the specification of its kind."""
    found: dict[str, Any] = json.loads(files("bridge").joinpath("schema", "event.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(found)
    return found


def strict(text: bytes) -> Any:
    """What a JSON text says. ValueError for NaN and its kin, and for a name that is twice in the outermost object."""
    names: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names[:] = [name for name, _ in found]  # the outermost object is the last to be complete
        return dict(found)

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    said = json.loads(text.decode("utf-8"), object_pairs_hook=pairs, parse_constant=refuse)
    if len(names) != len(set(names)):
        raise ValueError(f"a name is there twice: {names}")
    return said


def complaints(event: Any) -> list[str]:
    """What the schema has against a decoded event."""
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema()).iter_errors(event)]


def judged(body: bytes) -> dict[str, Any]:
    """The event of these bytes; AssertionError or ValueError where any of the three judges refuses it."""
    event: dict[str, Any] = strict(body)
    assert not (found := complaints(event)), found
    read = JSONFormat().read(None, body)
    attributes = read.get_attributes()
    assert {name: event[name] for name in attributes if name != "time"} == {
        name: value for name, value in attributes.items() if name != "time"
    }
    moment = read.get_time()
    assert moment is not None
    assert moment.utcoffset() is not None
    assert not moment.utcoffset()
    return event
