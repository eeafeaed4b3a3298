"""Calls the API of late July 2026, and the documented waits, through the SDK's older client; prints JSON.

A program of its own: `python sdk_legacy.py URL`, with bctrl 0.1.5 or 0.3.0 first on the path. The upstream has a run
"run" of thirty events that is over, an operation "op" and an invocation "inv" that go by hand.
"""

import json
import sys
from importlib.metadata import version
from typing import Any

try:
    from bctrl.legacy import Bctrl  # type: ignore[import-untyped]  # of another version
except ImportError:
    from bctrl import Bctrl  # type: ignore[import-untyped]


def outcome(work: Any) -> list[Any]:
    """The name, the status and the code of the error that a call ends with."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - which one it is, is the result
        return [type(error).__name__, getattr(error, "status", None), getattr(error, "code", None)]
    return ["nothing"]


def main(url: str) -> dict[str, Any]:
    """Everything that the older client can do with runs and their events."""
    client = Bctrl(api_key="k", base_url=url, max_retries=0, timeout=10)
    wait = client._http.request
    frames = list(client.runs.stream("run"))
    listed = list(client.runs.events.iter("run", limit=7))
    first = wait("POST", "/runs/run/events/wait", json_body={"timeoutMs": 1000})
    body = {"cursor": first["cursor"], "kind": ["browser"], "type": ["navigation"], "timeoutMs": 1000}
    return {
        "frames": frames,
        "listed": listed,
        "filtered": client.runs.events.list("run", type=["navigation"], source="cdp", limit=50)["data"],
        "events": list(client.runs.stream("run", include=["events"], after=frames[9]["id"])),
        "trace": list(client.runs.stream("run", include="trace")),
        "run": client.runs.get("run"),
        "first": first,
        "waited": wait("POST", "/runs/run/events/wait", json_body=body),
        "operation": wait("POST", "/operations/op/wait", json_body={"timeoutMs": 1}),
        "invocation": wait("POST", "/invocations/inv/wait", json_body={"timeoutMs": 1}),
        "errors": [
            outcome(lambda: client.runs.get("no")),
            outcome(lambda: list(client.runs.stream("no"))),
            outcome(lambda: list(client.runs.stream("run", after="no"))),
        ],
    }


if __name__ == "__main__":
    print(json.dumps({"version": version("bctrl"), **main(sys.argv[1])}))
