"""Serves `/_emulator/`: what a test in another process steers the emulator by. No upstream has anything like it.

| call | what |
|---|---|
| `GET /_emulator/` | runs, faults, counts, named events and the last requests (keys left out) |
| `POST /_emulator/faults` | JSON object: switches these faults, leaves the others |
| `DELETE /_emulator/faults` | switches all faults off |
| `POST /_emulator/cut` | resets every open stream |
| `POST /_emulator/runs` | JSON object: `id`, and a script's options (`rate`, ...) unless it is fed by hand |
| `POST /_emulator/runs/{id}/events` | an event or an array of them; as text/event-stream: bytes sent as they are |
| `POST /_emulator/runs/{id}/end` | `{"status": "stopped" or "failed", "failure": {...} or null}`, all optional |
| `POST /_emulator/signals/{name}` | any JSON: signals a named event |
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from aiohttp import web

from bridge.emulator.answers import json_answer
from bridge.emulator.browser_run import RunScript
from bridge.emulator.faults import FaultSettings
from bridge.emulator.named_events import NoRoomError
from bridge.emulator.runs import Run
from bridge.emulator.scenario import build
from bridge.emulator.state import State

MAX_BODY = 16 << 20
REQUESTS_SHOWN = 100


class Control:
    """The handlers of the control surface."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        """What there is; an error of a handler is a 400 or 404 that says what is wrong."""
        return [
            web.get("/_emulator/", _told(self.show)),
            web.post("/_emulator/faults", _told(self.set_faults)),
            web.delete("/_emulator/faults", _told(self.clear_faults)),
            web.post("/_emulator/cut", _told(self.cut)),
            web.post("/_emulator/runs", _told(self.create)),
            web.post("/_emulator/runs/{id:[^/]+}/events", _told(self.append)),
            web.post("/_emulator/runs/{id:[^/]+}/end", _told(self.end)),
            web.post("/_emulator/signals/{name:[^/]+}", _told(self.signal)),
        ]

    async def show(self, _: web.Request) -> object:
        """The state as JSON."""
        state = self._state
        return {
            "runs": [run.describe() for run in state.runs],
            "faults": asdict(state.faults.settings),
            "counts": dict(state.counts),
            "openStreams": state.open_streams,
            "namedEvents": state.events.describe(),
            "requests": [record.describe() for record in list(state.requests)[-REQUESTS_SHOWN:]],
        }

    async def set_faults(self, request: web.Request) -> object:
        """Switches faults."""
        changes = _object(await request.read())
        given = build(FaultSettings, changes, "faults")
        self._state.faults.set(**{name: getattr(given, name) for name in changes})
        return asdict(self._state.faults.settings)

    async def clear_faults(self, _: web.Request) -> object:
        """Switches all faults off."""
        self._state.faults.clear()
        return asdict(self._state.faults.settings)

    async def cut(self, _: web.Request) -> object:
        """Resets the open streams."""
        return {"cut": self._state.cut()}

    async def create(self, request: web.Request) -> object:
        """Makes a run."""
        fields = _object(await request.read())
        id_ = fields.pop("id", None)
        if not isinstance(id_, str) or not id_:
            raise ValueError("id: a run needs one, a text that is not empty")
        script = build(RunScript, fields, "run") if fields else None
        return self._state.runs.create(id_, script).describe()

    async def append(self, request: web.Request) -> object:
        """Adds events, in order."""
        run, raw = self._run(request), await request.read()
        if request.content_type == "text/event-stream":
            return {"ids": [run.append_raw(raw).id]}
        body = json.loads(raw)
        events = [raw] if isinstance(body, dict) else body
        if not isinstance(events, list):
            raise ValueError("an event is a JSON object; several are an array of them")  # noqa: TRY004 - a 400
        return {"ids": [run.append(event).id for event in events]}

    async def end(self, request: web.Request) -> object:
        """Ends a run."""
        run, fields = self._run(request), _object(await request.read() or b"{}")
        status, failure = fields.get("status", "stopped"), fields.get("failure")
        if status not in ("stopped", "failed") or not (failure is None or isinstance(failure, dict)):
            raise ValueError('end: status is "stopped" or "failed", failure an object or null')
        run.end("failed" if status == "failed" else "stopped", failure)
        return run.describe()

    async def signal(self, request: web.Request) -> object:
        """Signals a named event."""
        self._state.events.signal(request.match_info["name"], json.loads(await request.read()))
        return self._state.events.describe()

    def _run(self, request: web.Request) -> Run:
        return self._state.runs.get(request.match_info["id"])


def _told(handler: Callable[[web.Request], Awaitable[object]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return json_answer(await handler(request))
        except KeyError as missing:
            return json_answer({"error": str(missing.args[0])}, 404)
        except (ValueError, TypeError, NoRoomError) as wrong:
            return json_answer({"error": str(wrong) or type(wrong).__name__}, 400)

    return handle


def _object(raw: bytes) -> dict[str, object]:
    body = json.loads(raw)
    if not isinstance(body, dict):
        raise ValueError("the body has to be a JSON object")  # noqa: TRY004 - answered with 400
    return body
