"""Calls today's API through the official SDK, bctrl 0.3.0, and prints what came of it as JSON.

A program of its own: `python sdk_today.py URL`, with that SDK's directory first on the path. The upstream has a run
"run" of thirty events that is over, "live" that goes on, and "hand" that is fed.
"""

import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any
from urllib.request import Request, urlopen

from bctrl import Bctrl  # type: ignore[import-untyped]  # the vendor ships no types


def post(url: str, body: object) -> Any:
    """The answer of a control call."""
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as answer:
        return json.load(answer)


def feed(url: str) -> None:
    """Appends an Event of no run once somebody follows the account and has got a heartbeat, which is no Event."""
    while not json.load(urlopen(f"{url}/_emulator/", timeout=10))["openStreams"]:
        time.sleep(0.005)
    later = Request(f"{url}/v1/events/stream?type=none", headers={"Authorization": "Bearer k"})
    with urlopen(later, timeout=10) as stream:
        while b"heartbeat" not in stream.readline():
            pass
    post(f"{url}/_emulator/events", {"type": "spending_cap.reached", "data": {"n": 1}})


def outcome(work: Any) -> list[Any]:
    """The name, the status and the body of the error that a call ends with."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - which one it is, is the result
        body = getattr(error, "body", None)
        return [type(error).__name__, getattr(error, "status_code", None), getattr(body, "model_dump", lambda: body)()]
    return ["nothing"]


def first(items: Iterator[Any], count: int) -> list[Any]:
    """So many items of a stream that has no end."""
    return list(itertools.islice(items, count))


def pages(client: Any, **query: Any) -> list[Any]:
    """All Events of a list, page by page."""
    found: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.events.list(**query, **cursor)
        found += page.data
        if not page.has_more:
            return found
        cursor = {"cursor": page.next_cursor}


def dumped(items: list[Any]) -> list[Any]:
    """The SDK's values as JSON."""
    return [json.loads(item.json(by_alias=True)) for item in items]


def main(url: str) -> dict[str, Any]:
    """Everything that the SDK can do with Events and runs."""
    client = Bctrl(token="k", base_url=url, max_retries=0, timeout=10)
    listed = pages(client, run="run", order="asc", limit=7)
    ids = [event.id for event in listed]
    newest = pages(client, run="run", limit=11)
    chosen = client.events.list(
        run="run", category=["page", "captcha"], outcome="ok", channel=["cdp", "tool"], actor_type="agent", limit=100
    )
    resumed = first(client.events.stream(after=ids[9], run="run"), 20)
    by_header = first(client.events.stream(last_event_id=ids[9], run="run", type=["console.message"]), 1)

    live = client.events.stream(type="spending_cap.reached")
    feeding = threading.Thread(target=feed, args=(url,))
    feeding.start()
    fed = next(iter(live))
    feeding.join()
    live.close()

    post(f"{url}/_emulator/runs/hand/control", {"holder": "human", "by": "somebody", "reason": "takeover"})
    post(f"{url}/_emulator/runs/hand/events", {"type": "navigation", "category": "browser"})
    post(f"{url}/_emulator/runs/hand/end", {"status": "failed"})
    frames = list(client.runs.stream("run"))
    return {
        "ids": ids,
        "newest": [event.id for event in newest],
        "types": sorted({event.type for event in chosen.data}),
        "one": dumped([client.events.get(ids[3]), listed[3]]),
        "resumed": [event.id for event in resumed],
        "by_header": [event.type for event in by_header],
        "fed": dumped([fed]),
        "frames": [frame.type for frame in frames],
        "inner": [frame.event.id for frame in frames if frame.type == "runtime.event"],
        "spans": [[frame.type, frame.span.status] for frame in frames if frame.type.startswith("span.")],
        "after": [frame.id for frame in client.runs.stream("run", include="events", after=frames[20].id)],
        "last_event_id": [frame.id for frame in client.runs.stream("run", last_event_id=frames[20].id)],
        "frame_ids": [frame.id for frame in frames],
        "hand": dumped(list(client.runs.stream("hand"))),
        "runs": [run.id for run in client.runs.list(status=["active", "standby"], limit=10).data],
        "ended": dumped([client.runs.get("run", wait=1)]),
        "waited": client.runs.get("live", wait=0).status,
        "errors": [
            outcome(lambda: client.events.get("no")),
            outcome(lambda: client.events.list(cursor=ids[0])),
            outcome(lambda: list(client.events.stream(after="no"))),
            outcome(lambda: client.runs.get("no")),
            outcome(lambda: list(client.runs.stream("no"))),
        ],
    }


if __name__ == "__main__":
    print(json.dumps({"version": version("bctrl"), **main(sys.argv[1])}))
