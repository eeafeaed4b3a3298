"""Puts the upstream calls together and serves them. The calls themselves are in their own modules."""

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import Callable
from typing import Self

from aiohttp import web

from bridge.emulator.answers import bctrl_error
from bridge.emulator.control import MAX_BODY, Control
from bridge.emulator.faults import Faults
from bridge.emulator.filters import V1, V2
from bridge.emulator.gate import Call, Handler, gated
from bridge.emulator.named_events import SignalEvent, WaitForEvent
from bridge.emulator.options import Options
from bridge.emulator.run_calls import RunCalls
from bridge.emulator.runs import Runs
from bridge.emulator.state import RequestRecord, State
from bridge.emulator.stream import RunEventsStream

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
    def faults(self) -> Faults:
        """The faults: `set`, `clear`."""
        return self._state.faults

    @property
    def requests(self) -> list[RequestRecord]:
        """The last requests to upstream calls, oldest first; `options.log` of them."""
        return list(self._state.requests)

    @property
    def counts(self) -> Counter[str]:
        """How often each call was made, by its name: stream, events, runs, run, run-wait, signal, event-wait."""
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

    def cut(self) -> int:
        """Resets the TCP connection of every open stream, wherever it stands; says how many."""
        return self._state.cut()

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


def _calls(state: State) -> tuple[Call, ...]:
    """Every upstream call there is."""
    runs = RunCalls(state)
    signal_event, wait_for_event = SignalEvent(state.events), WaitForEvent(state.events, state.faults)
    # A segment is matched before it is decoded, so that the name a%2Fb is one segment.
    run, name = "{id:[^/]+}", "{event_name:[^/]+}"
    return (
        Call("stream", "bctrl", "GET", f"/v2/runs/{run}/events/stream", RunEventsStream(state, V2)),
        Call("stream", "bctrl", "GET", f"/v1/runs/{run}/events/stream", RunEventsStream(state, V1)),
        Call("events", "bctrl", "GET", f"/v1/runs/{run}/events", runs.events),
        Call("runs", "bctrl", "GET", "/v1/runs", runs.runs),
        Call("run", "bctrl", "GET", f"/v1/runs/{run}", runs.run),
        Call("run-wait", "bctrl", "POST", f"/v1/runs/{run}/wait", runs.wait),
        *(
            call
            for prefix in ("", "/api")
            for call in (
                Call("event-wait", "anchor", "POST", f"{prefix}/v1/events/{name}/wait", wait_for_event),
                Call("signal", "anchor", "POST", f"{prefix}/v1/events/{name}", signal_event),
            )
        ),
    )


def _application(state: State) -> web.Application:
    application = web.Application(middlewares=[_unknown_routes], client_max_size=MAX_BODY)
    for call in _calls(state):
        application.router.add_route(call.method, call.path, gated(call, state))
    application.add_routes(Control(state).routes())
    return application


@web.middleware
async def _unknown_routes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Says in the provider's words what the framework says in its own."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        return bctrl_error(404, f"Route {request.method} {request.path} not found.", "route.not_found")
    except web.HTTPRequestEntityTooLarge:
        return bctrl_error(413, f"The body is larger than {MAX_BODY} bytes.", "request.too_large")
