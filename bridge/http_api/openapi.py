"""Makes the OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1.html) from the table of operations. Pure."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from msgspec import Struct

from bridge.http_api.operation import PARTS, Body, Operation, Says
from bridge.http_api.problem import CONTENT_TYPE, ProblemDetails

Json = dict[str, Any]
SPECS = {"sources": ("SourceSpec", "AddedSource"), "destinations": ("DestinationSpec", "AddedDestination")}
"""By section: what its spec is called, and the spec with an `id`."""
_REF = "#/components/schemas/{name}"
_ALWAYS = {400: "it can't be understood", 401: "a token is needed", 403: "another web page asks"}
_WITH_BODY = {408: "the body is too slow", 413: "the body is too large", 415: "the body is of another type"}
_WORDS = {
    **_ALWAYS, **_WITH_BODY, 404: "there is no such thing",
    405: "there is something else", 409: "it can't be done as things are",
    422: "the body can't be used; `errors` has every problem", 503: "not at the moment",
}  # fmt: skip
_ABOUT = """Everything about a running runbridge: how it stands, what it reads and where it delivers, and its log.

Requests carry `Authorization: Bearer <token>` where `http.token` is set. Errors are problem details (RFC 9457)."""


def document(operations: Sequence[Operation], schemas: Mapping[str, Any]) -> bytes:
    """The document as JSON. `schemas` are those of the keys of `sources` and `destinations`."""
    types = _types(operations)
    _, components = msgspec.json.schema_components(types, ref_template=_REF)
    for name, (plain, named) in SPECS.items():
        components |= _spec(plain, schemas[name]) | _spec(named, _named(schemas[name]))
    paths: dict[str, Json] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    return json.dumps({
        "openapi": "3.1.0",
        "info": {"title": "runbridge", "version": version("runbridge"), "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(each.tag for each in operations)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {
                str(status): {
                    "description": f"Not done: {words}.",
                    "content": {CONTENT_TYPE: {"schema": {"$ref": _REF.format(name="ProblemDetails")}}},
                }
                for status, words in _WORDS.items()
            },
        },
    }).encode()  # fmt: skip


def _spec(name: str, schema: Json) -> Json:
    """A schema and its `$defs` as components: names of their own, and references to them there."""
    text = json.dumps({key: value for key, value in schema.items() if key != "$defs"})
    found, names = {name: text}, schema.get("$defs", {})
    found |= {f"{name}.{each}": json.dumps(inner) for each, inner in names.items()}
    place = f'"#/components/schemas/{name}.'
    return {at: json.loads(each.replace('"#/$defs/', place)) for at, each in found.items()}


def _named(schema: Json) -> Json:
    """The same with an `id`, in each of the kinds there are."""
    id_ = {"type": "string", "pattern": PARTS["id"].pattern, "description": "What it is called."}
    copy: Json = json.loads(json.dumps(schema))
    kinds = [copy["$defs"][one["$ref"].rpartition("/")[2]] for one in copy.get("oneOf", [])] or [copy]
    for kind in kinds:
        kind["properties"] = {"id": id_, **kind.get("properties", {})}
        kind["required"] = ["id", *kind.get("required", [])]
    return copy


def _types(operations: Sequence[Operation]) -> list[type[Struct]]:
    said = [says.kind for each in operations for says in each.says if isinstance(says.kind, type)]
    bodies = [each.body.kind for each in operations if each.body and isinstance(each.body.kind, type)]
    queries = [each.query for each in operations if each.query]
    return list(dict.fromkeys([ProblemDetails, *said, *bodies, *queries]))


def _operation(each: Operation) -> Json:
    found: Json = {
        "operationId": each.name,
        "summary": each.summary,
        "tags": [each.tag],
        "security": [{}] if each.free else [{}, {"token": []}],
        "parameters": [*(_part(name) for name in each.parameters), *_query(each.query)],
        "responses": {str(says.status): _answer(says) for says in each.says},
    }
    refused = {
        *_ALWAYS,
        *each.refuses,
        *((404, 405) if each.parameters else ()),
        *((*_WITH_BODY, 422) if each.body else ()),
        *((503,) if each.follows else ()),
    }
    found["responses"] |= {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(refused)
                           if str(status) not in found["responses"]}  # fmt: skip
    if each.body is not None:
        found["requestBody"] = _body(each.body)
    return found


def _part(name: str) -> Json:
    part = PARTS[name]
    schema = {"type": "string", "pattern": part.pattern, "examples": [part.example]}
    return {"name": name, "in": "path", "required": True, "description": part.words, "schema": schema}


def _query(kind: type[Struct] | None) -> list[Json]:
    if kind is None:
        return []
    _, components = msgspec.json.schema_components([kind])
    found = []
    for name, schema in components[kind.__name__]["properties"].items():
        found.append({"name": name, "in": "query", "required": False, "schema": schema})
    return found


def _answer(says: Says) -> Json:
    found: Json = {"description": says.description}
    if says.kind is not None or says.content_type == "text/event-stream":
        found["content"] = {says.content_type: {"schema": _schema(says.kind)}}
    if says.headers:
        found["headers"] = {
            name: {"description": words, "schema": {"type": "string"}} for name, words in says.headers.items()
        }
    return found


def _schema(kind: Any) -> Json:  # noqa: ANN401  # a struct, a schema or nothing
    if isinstance(kind, type):
        return {"$ref": _REF.format(name=kind.__name__)}
    schema: Json = kind or {"type": "string"}
    return schema


def _body(body: Body) -> Json:
    if isinstance(body.kind, type):
        schema = {"$ref": _REF.format(name=body.kind.__name__)}
    elif body.patch:
        schema = {"type": "object", "description": "The keys to change, `null` for those to remove."}
    else:
        schema = {"$ref": _REF.format(name=SPECS[body.kind][body.named])}
    return {"required": body.required, "content": {type_: {"schema": schema} for type_ in body.types}}
