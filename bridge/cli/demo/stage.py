"""Puts the demo's parts up, plays, and takes everything down again, however it ends. Decides nothing about an event."""

import contextlib
import tempfile
from itertools import count
from pathlib import Path
from random import Random

from bridge.backoff import delays
from bridge.cli.demo.daemon import EVENT, RUN, SECRET, Daemon
from bridge.cli.demo.errors import DemoError
from bridge.cli.demo.passages import Passage, Passages
from bridge.cli.demo.receiver import Receiver
from bridge.cli.demo.upstream import Signal, Upstream, signalling
from bridge.cli.ending import first
from bridge.cli.event_line import event_line
from bridge.cli.terminal import Columns, Terminal, type_colour
from bridge.errors import LogUnavailable
from bridge.redis_log import Reader
from bridge.stop import nap, within

START = 60.0
"""Seconds for the bridge to be connected on both sides."""
ARRIVAL = 10.0
"""Seconds for the last events to arrive after they were written."""


class Stage:
    """One demo of so many events, or without end. `perform` is all of it."""

    def __init__(self, events: int | None, rate: float) -> None:
        self._events = events
        self._rate = rate
        self._terminal = Terminal()
        self._columns = Columns(12, 6, 10, 6, 8, 36)
        self._passages = Passages()
        self._upstream = Upstream(self._passages.written)
        self._receiver = Receiver(SECRET, self._passages.received)
        self._daemon: Daemon | None = None

    async def perform(self) -> None:
        """Until the events have arrived. Raises DemoError, OSError."""
        with tempfile.TemporaryDirectory(prefix="runbridge-demo-") as directory:
            async with contextlib.AsyncExitStack() as stack:
                await self._perform(stack, Path(directory))

    def hurry(self) -> None:
        """Somebody doesn't want to wait for the bridge to end politely."""
        if self._daemon is not None:
            self._daemon.kill()

    def sum_up(self) -> None:
        """The last line."""
        receiver, passages = self._receiver, self._passages
        if passages.count:
            refused = f", {receiver.refused} REFUSED ({receiver.reason})" if receiver.refused else ""
            counts = f"{receiver.verified} signatures verified{refused}, {receiver.duplicates} duplicates"
            self._terminal.line((f"\n{passages.count} events, {counts}; {passages.latencies()}", "bold"))
            self._terminal.flush()

    async def _perform(self, stack: contextlib.AsyncExitStack, directory: Path) -> None:
        stack.push_async_callback(self._upstream.stop)
        stack.push_async_callback(self._receiver.stop)
        upstream, receiver = await self._upstream.start(), await self._receiver.start()
        daemon = self._daemon = Daemon(directory)
        stack.push_async_callback(daemon.end)
        daemon.start(upstream=upstream, receiver=receiver)
        signal = await stack.enter_async_context(signalling(upstream))
        if not await within(first(daemon.watch(), self._joined()), START):
            raise DemoError(f"the bridge was not connected within {START:g} s{daemon.last_lines()}")
        reader = Reader(daemon.server, daemon.keys, "0-0")
        stack.push_async_callback(reader.close)
        await reader.open()
        self._head(upstream, str(daemon.server), receiver)
        await first(self._play(signal), self._follow(reader), self._show(), daemon.watch())

    async def _joined(self) -> bool:
        await self._upstream.joined()
        return True

    async def _play(self, signal: Signal) -> None:
        await self._upstream.play(self._events, self._rate, signal)
        await nap(ARRIVAL)
        refused = f"; the receiver refused {self._receiver.refused}: {self._receiver.reason}"
        said = refused if self._receiver.refused else ""
        raise DemoError(f"{self._passages.missing()} after {ARRIVAL:g} s{said}{self._last_lines()}")

    async def _follow(self, reader: Reader) -> None:
        waits = delays(Random(), first=0.05, longest=1.0)
        while True:
            try:
                entries = await reader.read()
            except LogUnavailable:  # the bridge says so, and starts its server again
                await nap(next(waits))
                continue
            for entry in entries:
                self._passages.logged(entry)

    async def _show(self) -> None:
        """A line for each event that is through; returns after the last one."""
        for _ in count() if self._events is None else range(self._events):
            self._line(await self._passages.through.get())
        if self._receiver.refused:
            raise DemoError(f"the receiver refused {self._receiver.refused} requests: {self._receiver.reason}")

    def _head(self, upstream: str, log: str, receiver: str) -> None:
        line, columns = self._terminal.line, self._columns
        line(("runbridge demo", "bold"), (": events on their way through a real bridge. Ctrl-C ends it.", ""))
        line(("  upstream  ", "cyan"), (f"{upstream}, the run {RUN} and the named event {EVENT}", "dim"))
        line(("  log       ", "cyan"), (f"{log}, Redis Streams with an append-only file", "dim"))
        line(("  webhook   ", "cyan"), (f"{receiver}, which verifies every signature", "dim"))
        line(("Milliseconds count from the moment an event is written upstream.", "dim"))
        line()
        titles = ("time", "log ms", "webhook ms", "signed", "subject", "type")
        self._terminal.row(*((columns(column, title), "bold") for column, title in enumerate(titles)), ("data", "bold"))
        self._terminal.flush()

    def _line(self, passage: Passage) -> None:
        if passage.entry is None:
            return
        event, columns = event_line(passage.entry), self._columns
        self._terminal.row(
            (columns(0, event.time[11:23]), "dim"),
            (columns(1, f"{passage.to_log:6.1f}"), _speed(passage.to_log)),
            (columns(2, f"{passage.to_webhook:10.1f}"), _speed(passage.to_webhook)),
            (columns(3, "ok"), "green"),
            (columns(4, event.subject), ""),
            (columns(5, event.type), type_colour(event.type)),
            (event.summary, "dim"),
        )
        self._terminal.flush()

    def _last_lines(self) -> str:
        return self._daemon.last_lines() if self._daemon is not None else ""


def _speed(milliseconds: float) -> str:
    return "green" if milliseconds < 50 else "yellow"
