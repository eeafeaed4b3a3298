"""Serves `/_emulator/`: what a test in another process steers the emulator by. No upstream has anything like it.

| call | what |
|---|---|
| `GET /_emulator/` | runs, operations, faults, names of calls, counts, named events, last requests (no keys) |
| `POST /_emulator/faults` | JSON object: switches these faults, leaves the others |
| `DELETE /_emulator/faults` | switches all faults off |
| `POST /_emulator/cut` | resets every open stream and wait |
| `POST /_emulator/restart` | `{"memory": true or false}`: resets every connection; without memory all begins again |
| `POST /_emulator/runs` | JSON object: `id`, and a script's options (`rate`, ...) unless it is fed by hand |
| `POST /_emulator/runs/{id}/events` | an event or an array of them; as text/event-stream: bytes sent as they are |
| `POST /_emulator/runs/{id}/end` | `{"status": "stopped" or "failed", "failure": {...} or null}`, all optional |
| `POST /_emulator/runs/{id}/control` | `{"holder": "agent", "human" or "none", "reason": text, "by": text or null}` |
| `POST /_emulator/events` | Events of no run, one or an array; as text/event-stream: bytes sent as they are |
| `POST /_emulator/operations` | JSON object: `id`, and a script's options (`steps`, ...) unless it goes by hand |
| `POST /_emulator/operations/{id}` | sets `status`, `step`, `totalSteps`, `message`, `error`, `result`, all optional |
| `POST /_emulator/invocations`, `.../{id}` | the same for invocations |
| `POST /_emulator/signals/{name}` | any JSON: signals a named event |
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Protocol

from aiohttp import web

from bridge.emulator.answers import json_answer
from bridge.emulator.browser_run import RunScript
from bridge.emulator.faults import CALLS, FaultSettings
from bridge.emulator.named_events import NoRoomError
from bridge.emulator.runs import Run
from bridge.emulator.scenario import build
from bridge.emulator.state import State
from bridge.emulator.wire import Event
from bridge.emulator.work_bodies import invocation, operation
from bridge.emulator.works import Snapshot, Works, WorkScript

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
            web.post("/_emulator/runs/{id:[^/]+}/control", _told(self.change_control)),
            web.post("/_emulator/events", _told(self.append_to_account)),
            web.post("/_emulator/restart", _told(self.restart)),
            web.post("/_emulator/{works:operations|invocations}", _told(self.create_work)),
            web.post("/_emulator/{works:operations|invocations}/{id:[^/]+}", _told(self.set_work)),
            web.post("/_emulator/signals/{name:[^/]+}", _told(self.signal)),
        ]

    async def show(self, _: web.Request) -> object:
        """The state as JSON."""
        state = self._state
        return {
            "runs": [run.describe() for run in state.runs],
            "operations": [operation(work.look(begin=False)) for work in state.operations],
            "invocations": [invocation(work.look(begin=False)) for work in state.invocations],
            "faults": asdict(state.faults.settings),
            "calls": CALLS,
            "counts": dict(state.counts),
            "openStreams": state.open_streams,
            "openWaits": state.open_waits,
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
        """Resets the open streams and waits."""
        return {"cut": self._state.cut()}

    async def restart(self, request: web.Request) -> object:
        """Resets all other connections; without memory what has happened is forgotten."""
        memory = _object(await request.read() or b"{}").get("memory", True)
        if not isinstance(memory, bool):
            raise ValueError("restart: memory is true or false")  # noqa: TRY004 - answered with 400
        return {"cut": self._state.restart(memory=memory, spare=request.transport)}

    async def create(self, request: web.Request) -> object:
        """Makes a run."""
        fields = _object(await request.read())
        id_ = fields.pop("id", None)
        if not isinstance(id_, str) or not id_:
            raise ValueError("id: a run needs one, a text that is not empty")
        script = build(RunScript, fields, "run") if fields else None
        return self._state.runs.create(id_, script).describe()

    async def append(self, request: web.Request) -> object:
        """Adds events to a run, in order."""
        return await _appended(request, self._run(request))

    async def append_to_account(self, request: web.Request) -> object:
        """Adds Events that belong to no run of the emulator, in order."""
        return await _appended(request, self._state.account)

    async def change_control(self, request: web.Request) -> object:
        """Gives control of a run's browser to somebody else."""
        change = self._state.controls.change(self._run(request), **_object(await request.read()))
        return asdict(change)

    async def end(self, request: web.Request) -> object:
        """Ends a run."""
        run, fields = self._run(request), _object(await request.read() or b"{}")
        status, failure = fields.get("status", "stopped"), fields.get("failure")
        if status not in ("stopped", "failed") or not (failure is None or isinstance(failure, dict)):
            raise ValueError('end: status is "stopped" or "failed", failure an object or null')
        run.end("failed" if status == "failed" else "stopped", failure)
        return run.describe()

    async def create_work(self, request: web.Request) -> object:
        """Makes an operation or an invocation."""
        works, body = self._works(request)
        fields = _object(await request.read())
        id_ = fields.pop("id", None)
        if not isinstance(id_, str) or not id_:
            raise ValueError("id: there has to be one, a text that is not empty")
        script = build(WorkScript, fields, "script") if fields else None
        return body(works.create(id_, script).look(begin=False))

    async def set_work(self, request: web.Request) -> object:
        """Sets one by hand."""
        works, body = self._works(request)
        return body(works.get(request.match_info["id"]).set(_object(await request.read())))

    def _works(self, request: web.Request) -> tuple[Works, Callable[[Snapshot], dict[str, object]]]:
        if request.match_info["works"] == "operations":
            return self._state.operations, operation
        return self._state.invocations, invocation

    async def signal(self, request: web.Request) -> object:
        """Signals a named event."""
        self._state.events.signal(request.match_info["name"], json.loads(await request.read()))
        return self._state.events.describe()

    def _run(self, request: web.Request) -> Run:
        return self._state.runs.get(request.match_info["id"])


class _Log(Protocol):
    """What events can be appended to."""

    def append(self, event: Mapping[str, object] | bytes, /) -> Event: ...

    def append_raw(self, frame: bytes, /) -> Event: ...


async def _appended(request: web.Request, log: _Log) -> object:
    raw = await request.read()
    if request.content_type == "text/event-stream":
        return {"ids": [log.append_raw(raw).id]}
    body = json.loads(raw)
    events = [raw] if isinstance(body, dict) else body
    if not isinstance(events, list):
        raise ValueError("an event is a JSON object; several are an array of them")  # noqa: TRY004 - a 400
    return {"ids": [log.append(event).id for event in events]}


def _told(handler: Callable[[web.Request], Awaitable[object]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return json_answer(await handler(request))
        except KeyError as missing:
            return json_answer({"error": str(missing.args[0])}, 404)
        except RecursionError:
            return json_answer({"error": "the body is nested too deeply"}, 400)
        except (ValueError, TypeError, NoRoomError) as wrong:
            return json_answer({"error": str(wrong) or type(wrong).__name__}, 400)

    return handle


def _object(raw: bytes) -> dict[str, object]:
    body = json.loads(raw)
    if not isinstance(body, dict):
        raise ValueError("the body has to be a JSON object")  # noqa: TRY004 - answered with 400
    return body
