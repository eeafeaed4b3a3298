"""Holds the OpenAPI document to its own schema, to the routes there are, and the running bridge to the document."""

import asyncio
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest
from asking import running
from daemon import Daemon, stream_source
from openapi_spec_validator import validate
from servers import free_port
from steering import served

from bridge.settings.added import added
from bridge.settings.specs_schema import specs_schema

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SEED = "20261122"
EXAMPLES = "4"
ENDLESS = ("/v1/live", "/v1/events")
"""What never ends, and has tests of its own."""


async def document(session: aiohttp.ClientSession) -> dict[str, Any]:
    """As it is served."""
    async with session.get("/v1/openapi.json") as response:
        assert response.content_type == "application/json"
        found: dict[str, Any] = await response.json()
        return found


async def test_the_document_is_one_and_names_every_route() -> None:
    """It is valid OpenAPI 3.1, and what it names is what is served: no route more, no route less."""
    async with served(schemas=specs_schema()) as (api, session):
        found = await document(session)
        validate(found)
        assert found["openapi"].startswith("3.1.")
        runner = api.api._runner
        assert runner is not None
        routes = {
            (route.method.lower(), route.resource.canonical)
            for route in runner.app.router.routes()
            if route.resource is not None and route.method not in ("HEAD", "OPTIONS")
        }
        named = {(method, path) for path, methods in found["paths"].items() for method in methods}
        assert named == routes
        names = [each["operationId"] for methods in found["paths"].values() for each in methods.values()]
        assert len(set(names)) == len(names)


def test_specs_are_told_by_what_tells_them_apart() -> None:
    """A source by `kind`, a destination by its URL's scheme; no key that names a file; secrets are only written."""
    schemas = specs_schema()
    for section in ("sources", "destinations"):
        jsonschema.Draft202012Validator.check_schema(schemas[section])
        for model in schemas[section]["$defs"].values():
            assert not [key for key in model["properties"] if key.endswith(("_file", "_files"))]
    webhook = schemas["destinations"]["$defs"]["WebhookDestination"]["properties"]
    assert webhook["secrets"]["items"]["writeOnly"]


@pytest.mark.parametrize(
    ("section", "spec"),
    [
        ("sources", {"kind": "sse", "url": "https://u.example", "idle_timeout": "20s", "recheck": 5}),
        ("sources", {"account": "b", "kind": "bctrl.run-events.stream", "run": "r", "max_event_bytes": "8MiB"}),
        ("sources", {"account": "b", "kind": "bctrl.operation.wait", "operation": "o", "wait_timeout": "20s"}),
        ("destinations", {"url": "redis://r.example", "stream": "runs:{subject}", "max_entries": 0, "password": "p"}),
        ("destinations", {
            "url": "https://r.example", "secrets": [SECRET], "retry_schedule": ["0s", 5], "timeout": 2.5,
            "rate_limit": "10/s", "disable_after": "off", "batch": {"max_bytes": "64KiB"}, "format": "batched",
            "headers": {"Authorization": "Bearer x"}, "allow_networks": ["10.0.0.0/8"], "from": "2026-10-03T00:00:00Z",
        }),
    ],
)  # fmt: skip
def test_the_schemas_allow_what_can_be_added(section: Any, spec: dict[str, Any]) -> None:
    """Each form that a value may have in the file is in the schema; what no rule knows is refused by both."""
    schema = specs_schema()[section]
    around = {"accounts": {"b": {"provider": "bctrl", "api_key": "k"}}, "instance": "x"}
    jsonschema.validate(spec, schema)
    added(section, "x", spec, around)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**spec, "more": 1}, schema)


async def test_the_running_bridge_does_what_the_document_says(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """Schemathesis finds no answer that the document doesn't allow, and nothing taken that it forbids; no 5xx.

    Some 20 s: thousands of requests, made from the document, at a real bridge, some of them one after the other.
    """
    port = free_port()
    destination = (
        f'[destinations.x]\nurl = "https://127.0.0.1:1/x"\nsecrets = ["{SECRET}"]\nallow_networks = ["127.0.0.1/32"]\n'
    )
    one = daemon(stream_source("x"), destination, BRIDGE_HTTP__LISTEN=f"127.0.0.1:{port}")
    async with running(one, port) as asked:
        code, said = await _schemathesis(f"http://127.0.0.1:{port}/v1/openapi.json", tmp_path)
        assert code == 0, said
        assert one.lines("worker.restarted") == []
        await _cancel_replays(asked.session)


async def _cancel_replays(session: aiohttp.ClientSession) -> None:
    """End those that were asked for: what they keep in Redis goes with them."""
    async with session.get("/v1/destinations") as response:
        names = [each["id"] for each in (await response.json())["destinations"]]
    for name in names:
        async with session.get(f"/v1/destinations/{name}/replays") as response:
            replays = (await response.json())["replays"]
        for replay in replays:
            async with session.delete(f"/v1/destinations/{name}/replays/{replay['id']}") as response:
                assert response.status in (204, 404)


async def _schemathesis(url: str, directory: Path) -> tuple[int | None, str]:
    """Its exit code and what it says. What a schema can't say (that an account exists) makes valid data refused."""
    command = shutil.which("schemathesis", path=Path(sys.executable).parent)
    assert command is not None, "schemathesis is not installed beside this Python"
    excluded = [part for path in (*ENDLESS, "/readyz") for part in ("--exclude-path", path)]
    process = await asyncio.create_subprocess_exec(
        command, "run", url, *excluded, "--checks", "all", "--exclude-checks", "positive_data_acceptance",
        "--max-examples", EXAMPLES, "--seed", SEED, "--no-color",
        cwd=directory, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode, said.decode(errors="replace")[-6000:]
