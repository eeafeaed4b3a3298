"""JSON schemas (draft 2020-12) of what may be added while the bridge runs: the keys of a source or a destination. Pure.

They are made from the models that the file is judged by, so they say which keys there are and what a value looks like;
what a text has to look like beyond that, and what one key says about another, is judged where it is added.
Keys that name a file are not among them: only the file of the configuration may name others.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from bridge.settings import addresses, destinations, shape, texts, units

Json = dict[str, Any]

_TEXT_OR_NUMBER: Json = {"type": ["string", "number"]}
_JUDGED: Mapping[Callable[..., Any], Json] = {
    units.duration: {**_TEXT_OR_NUMBER, "examples": ["20s"]},
    units.duration_or_off: {**_TEXT_OR_NUMBER, "examples": ["5d", "off"]},
    units.rate: {**_TEXT_OR_NUMBER, "examples": ["100/s"]},
    units.size: {"type": ["string", "integer"], "examples": ["8MiB"]},
    texts.one_or_more: {"type": ["string", "array"], "items": {"type": "string"}},
    texts.start_or_time: {"type": "string"},
    texts.begin_or_time: {"type": "string"},
    texts.time: {"type": "string"},
    addresses.network: {"type": "string", "examples": ["10.0.0.0/8"]},
    destinations._named_schedule: {"type": ["string", "array", "object"]},  # noqa: SLF001  # its form is told nowhere else
}
"""What a judge that sees a value first lets through, whatever becomes of it."""
_URLS = {
    destinations.WEBHOOK: "^[Hh][Tt][Tt][Pp][Ss]?:",
    destinations.REDIS: "^(rediss?|unix|redis\\+(sentinel|cluster)):",
}
_BOUNDS = {"ge": "minimum", "le": "maximum"}
"""What is said of a number behind a judge; it counts where the value is given as one."""


def specs_schema() -> dict[str, Json]:
    """By section: `sources`, told by `kind`, and `destinations`, told by the scheme of `url`. With `$defs`."""
    found = {}
    for section in ("sources", "destinations"):
        entries = shape.ENTRIES[section]
        defs: Json = {}
        for value, model in entries.models.items():
            schema = defs[model.__name__] = _of_model(model, defs)
            if section == "destinations":
                schema["properties"][entries.tag]["pattern"] = _URLS[value]
        refs = [{"$ref": f"#/$defs/{model.__name__}"} for model in entries.models.values()]
        found[section] = {"oneOf": refs, "$defs": defs}
    return found


def _of_model(model: type[BaseModel], defs: Json) -> Json:
    schema = model.model_json_schema(by_alias=True, schema_generator=_Given)
    for name, inner in schema.pop("$defs", {}).items():
        defs[name] = _without_files(inner)
    return _without_files(schema)


def _without_files(schema: Json) -> Json:
    if "properties" not in schema:
        return schema
    kept = {key: value for key, value in schema["properties"].items() if not key.endswith(("_file", "_files"))}
    bounded = {key: {_BOUNDS.get(name, name): each for name, each in value.items()} for key, value in kept.items()}
    return {**schema, "properties": bounded}


class _Given(GenerateJsonSchema):
    """A value as it is given, before any judge has made something else of it."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002  # the signature is pydantic's
        """No: it would only repeat the key."""
        return False

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """The form that the judge takes; that of the value itself for a judge that is not known here."""
        judge: Any = schema["function"]["function"]
        known = _JUDGED.get(judge)
        return dict(known) if known is not None else super().function_before_schema(schema)
