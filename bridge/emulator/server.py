"""Puts the upstream calls together and serves them. The calls themselves are in their own modules."""

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Self

from aiohttp import web

from bridge.emulator.account_log import AccountLog
from bridge.emulator.account_stream import AccountStream
from bridge.emulator.answers import bctrl_error, no_route, shaped
from bridge.emulator.control import MAX_BODY, Control
from bridge.emulator.control_changes import Change
from bridge.emulator.faults import Faults
from bridge.emulator.filters import V1, V2
from bridge.emulator.gate import Call, Handler, gated
from bridge.emulator.named_events import SignalEvent, WaitForEvent
from bridge.emulator.options import Options
from bridge.emulator.run_calls import RunCalls
from bridge.emulator.run_events_stream import RunEventsStream
from bridge.emulator.run_events_wait import RunEventsWait
from bridge.emulator.run_stream import RunStream
from bridge.emulator.runs import Runs
from bridge.emulator.state import RequestRecord, State
from bridge.emulator.today_calls import TodayCalls, by_version, refusing
from bridge.emulator.work_calls import Noun, WorkCalls
from bridge.emulator.works import Works

STOP_SECONDS = 0.05  # requests that are under way get so long to end by themselves


class Emulator:
    """An upstream of one's own, in this process. All methods belong to the event loop that `start` ran in.

        async with Emulator(Options(...)) as emulator:
            emulator.runs.create("run_1")
            emulator.runs.append("run_1", {"type": "navigation"})

    `stop` and another `start` (of the same port, say) is a restart that remembers everything; a new Emulator with
    the same options is one that remembers nothing but what the seed tells.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.port = 0
        self.url = ""
        self._state = State(self.options)
        self._runner: web.AppRunner | None = None
        self._phases: asyncio.Task[None] | None = None

    @property
    def runs(self) -> Runs:
        """The runs: `create`, `append`, `end`, `get`."""
        return self._state.runs

    @property
    def operations(self) -> Works:
        """The operations: `create`, `get`, `set` (by hand), `find`."""
        return self._state.operations

    @property
    def invocations(self) -> Works:
        """The invocations: the same."""
        return self._state.invocations

    @property
    def account(self) -> AccountLog:
        """The account's commit order: `append` an Event that belongs to no run, `append_raw` a frame of its stream."""
        return self._state.account

    def change_control(self, run: str, holder: str, reason: str = "requested", by: str | None = None) -> Change:
        """Gives control of a run's browser to "agent", "human" or "none"; ValueError or KeyError says what can't be."""
        return self._state.controls.change(self.runs.get(run), holder, reason, by)

    @property
    def faults(self) -> Faults:
        """The faults: `set`, `clear`."""
        return self._state.faults

    @property
    def requests(self) -> list[RequestRecord]:
        """The last requests to upstream calls, oldest first; `options.log` of them."""
        return list(self._state.requests)

    @property
    def counts(self) -> Counter[str]:
        """How often each call was made, by its name; `bridge.emulator.faults.CALLS` has the names."""
        return self._state.counts

    @property
    def open_streams(self) -> int:
        """How many event streams are open now."""
        return self._state.open_streams

    @property
    def named_events(self) -> dict[str, object]:
        """`{remembered: {name: n}, waiting: {name: n}, forgotten: n}`."""
        return self._state.events.describe()

    def signal(self, name: str, data: object) -> None:
        """Signals a named event, as the call does."""
        self._state.events.signal(name, data)

    @property
    def open_waits(self) -> int:
        """How many waits are under way now, of all kinds."""
        return self._state.open_waits

    def cut(self) -> int:
        """Resets the TCP connection of every open stream and wait, wherever it stands; says how many."""
        return self._state.cut()

    def restart(self, *, memory: bool) -> int:
        """Resets every connection, as a restart would, and says how many; the port stays open all the time.

        Without memory runs by hand, signals and what was done to operations and invocations are forgotten, and what
        there is from the start begins again. Faults, counts and the request log stay.
        """
        return self._state.restart(memory=memory)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Listens; port 0 takes a free one. OSError where it can't."""
        if self._runner is not None:
            raise RuntimeError(f"the emulator listens already, at {self.url}")
        runner = web.AppRunner(
            _application(self._state),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=STOP_SECONDS,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._state.connections = lambda: _transports(runner)
        self.port = int(runner.addresses[0][1])
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        self._phases = asyncio.create_task(self._go_through_phases(), name="emulator phases")
        return self

    async def stop(self) -> None:
        """Ends every connection and stops listening; nothing where it doesn't listen."""
        runner, phases = self._runner, self._phases
        self._runner = self._phases = None
        if phases is not None:
            phases.cancel()
            await asyncio.wait({phases})
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        """Starts on a free port of the loopback address, unless it has been started."""
        return self if self._runner is not None else await self.start()

    async def __aexit__(self, *_: object) -> None:
        """Stops."""
        await self.stop()

    async def _go_through_phases(self) -> None:
        started = asyncio.get_running_loop().time()
        for phase in sorted(self.options.phases, key=lambda each: each.after):
            await asyncio.sleep(max(0.0, started + phase.after - asyncio.get_running_loop().time()))
            self.faults.replace(phase.faults)


async def serve(
    options: Options, host: str = "127.0.0.1", port: int = 8787, *, ready: Callable[[str], None] | None = None
) -> None:
    """Serves until cancelled, or until SIGTERM or SIGINT; `ready` gets the URL. OSError where it can't listen."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    async with await Emulator(options).start(host, port) as emulator:
        with contextlib.ExitStack() as handlers:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stopped.set)
                handlers.callback(loop.remove_signal_handler, number)
            if ready is not None:
                ready(emulator.url)
            await stopped.wait()


def _transports(runner: web.AppRunner) -> list[asyncio.Transport]:
    """The connections that are open now."""
    handlers = runner.server.connections if runner.server is not None else []
    return [handler.transport for handler in handlers if isinstance(handler.transport, asyncio.Transport)]


def _calls(state: State) -> tuple[Call, ...]:
    """Every upstream call there is."""
    runs, today = RunCalls(state), TodayCalls(state)
    signal_event, wait_for_event = SignalEvent(state.events), WaitForEvent(state.events, state.faults)
    # A segment is matched before it is decoded, so that the name a%2Fb is one segment.
    run, name = "{id:[^/]+}", "{event_name:[^/]+}"
    return (
        Call("stream", "bctrl", "GET", f"/v2/runs/{run}/events/stream", RunEventsStream(state, V2)),
        Call("stream", "bctrl", "GET", f"/v1/runs/{run}/events/stream", RunEventsStream(state, V1)),
        Call("events", "bctrl", "GET", f"/v1/runs/{run}/events", runs.events),
        Call("runs", "bctrl", "GET", "/v1/runs", by_version(runs.runs, refusing(today.runs))),
        Call("run", "bctrl", "GET", f"/v1/runs/{run}", by_version(runs.run, refusing(today.run))),
        Call("run-stream", "bctrl", "GET", f"/v1/runs/{run}/stream", refusing(RunStream(state))),
        Call("account-stream", "bctrl", "GET", "/v1/events/stream", refusing(AccountStream(state))),
        Call("account-events", "bctrl", "GET", "/v1/events", refusing(today.events)),
        Call("account-event", "bctrl", "GET", "/v1/events/{id:[^/]+}", today.event),
        Call("webhooks", "bctrl", "GET", "/v1/webhooks", today.webhooks),
        Call("run-wait", "bctrl", "POST", f"/v1/runs/{run}/wait", runs.wait),
        Call("run-events-wait", "bctrl", "POST", f"/v1/runs/{run}/events/wait", RunEventsWait(state)),
        *_works(state, "operation"),
        *_works(state, "invocation"),
        *(
            call
            for prefix in ("", "/api")
            for call in (
                Call("event-wait", "anchor", "POST", f"{prefix}/v1/events/{name}/wait", wait_for_event),
                Call("signal", "anchor", "POST", f"{prefix}/v1/events/{name}", signal_event),
            )
        ),
    )


def _works(state: State, noun: Noun) -> Iterator[Call]:
    """The calls about operations or invocations; those of invocations have another form and path too."""
    calls, one = WorkCalls(state, noun), "{id:[^/]+}"
    yield Call(noun, "bctrl", "GET", f"/v1/{noun}s/{one}", calls.get)
    yield Call(f"{noun}-wait", "bctrl", "POST", f"/v1/{noun}s/{one}/wait", calls.wait)
    yield Call(f"{noun}-cancel", "bctrl", "POST", f"/v1/{noun}s/{one}/cancel", calls.cancel)
    if noun == "invocation":
        older = f"/v1/runtimes/{{runtime:[^/]+}}/invocations/{one}"
        yield Call(f"{noun}-wait", "bctrl", "POST", f"{older}/wait", calls.wait_flat)
        yield Call(f"{noun}-cancel", "bctrl", "POST", f"{older}/cancel", calls.cancel)
        yield Call(noun, "bctrl", "GET", f"/v1/runs/{{run:[^/]+}}/invocations/{one}", calls.get)


def _application(state: State) -> web.Application:
    application = web.Application(middlewares=[_errors], client_max_size=MAX_BODY)
    for call in _calls(state):
        application.router.add_route(call.method, call.path, gated(call, state))
    application.add_routes(Control(state).routes())
    return application


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Says in the provider's words what the framework says in its own, and gives every error its shape."""
    try:
        answer = await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        answer = no_route(request)
    except web.HTTPRequestEntityTooLarge:
        answer = bctrl_error(413, f"The body is larger than {MAX_BODY} bytes.", "request.too_large")
    return shaped(answer, request)
