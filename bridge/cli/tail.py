"""`runbridge tail`: follows the log in Redis, one line an event. Needs no more than to read there."""

import asyncio
import fnmatch
import json
import os
import re
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.backoff import delays
from bridge.cli.completion import source_ids
from bridge.cli.ending import first, until_signal
from bridge.cli.event_line import event_line
from bridge.cli.options import EX_CONFIG, EX_UNAVAILABLE, ConfigOption
from bridge.cli.terminal import Columns, Terminal, nobody_reads, type_colour, while_somebody_reads
from bridge.errors import ConfigurationError, LogUnavailable
from bridge.event import Entry
from bridge.stop import nap

if TYPE_CHECKING:
    from bridge.redis_log import Reader
    from bridge.settings import Settings

FROM_FORMS = "start, now, an entry's id, a duration such as 10m, or a time such as 2026-11-21T12:00:00Z"


def tail(
    *,
    config: ConfigOption = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="GLOB", help="Only events of such types; may be repeated.")
    ] = None,
    subjects: Annotated[
        list[str] | None, typer.Option("--subject", metavar="ID", help="Only of this subject; may be repeated.")
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="ID|URI",
            help="Only of this source: its id in the configuration, or the last segments of the URI; may be repeated.",
            autocompletion=source_ids,
        ),
    ] = None,
    start: Annotated[str, typer.Option("--from", metavar="WHERE", help=f"Where to begin: {FROM_FORMS}.")] = "now",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print {entry, partition, event}, one object a line.")
    ] = False,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many events.")] = None,
) -> None:
    r"""Follow the log: one line for each event, until Ctrl-C.

    A line has time, type, subject, id and, in short, what the data says. Begins with what comes from now on. An
    entry's id begins after that entry, so the last one of --json takes up where it left off.

    \b
      runbridge tail -c bridge.toml
      runbridge tail -c bridge.toml --from 10m --type 'ai.bctrl.network.*' --type ai.bctrl.run.ended
      runbridge tail -c bridge.toml --from start --source checkout --subject run_123
      runbridge tail -c bridge.toml --from 2026-11-21T12:00:00Z --count 100 --json | jq .event.data

    Waits for Redis when it goes away, and goes on where it was. Exit codes: 0 at its end, 69 when Redis can't be
    reached at the start, 78 when the configuration has mistakes.
    """
    from bridge.clock import now  # noqa: PLC0415  # --help should not wait for the whole bridge
    from bridge.settings import load  # noqa: PLC0415

    try:
        after = start_after(start, now())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--from") from None
    try:
        settings = load(config, os.environ)
    except ConfigurationError as error:
        print(f"runbridge: the configuration can't be used:\n{error}", file=sys.stderr)
        raise typer.Exit(EX_CONFIG) from None
    wanted = Wanted.of(settings, types or (), subjects or (), sources or ())
    printed = Printed(wanted, json_lines if as_json else EventLines(), count)
    try:
        with while_somebody_reads():
            asyncio.run(until_signal(_follow(settings, after, printed)))
    except LogUnavailable as error:
        print(f"runbridge tail: {_unreachable(settings, error)}", file=sys.stderr)
        raise typer.Exit(EX_UNAVAILABLE) from None


def start_after(text: str, now: datetime) -> str:
    """The stream id that reading begins after, "$" for now. Raises ValueError for none of FROM_FORMS."""
    from bridge.settings.units import duration  # noqa: PLC0415  # as above

    if text in {"start", "now"}:
        return "0-0" if text == "start" else "$"
    if re.fullmatch(r"\d{1,20}-\d{1,20}|\d{12,20}", text) and all(int(part) < 2**64 for part in text.split("-")):
        return text
    try:
        moment = datetime.fromisoformat(text)
        seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        try:
            seconds = now.timestamp() - duration(text)
        except ValueError:
            raise ValueError(f"expected {FROM_FORMS}") from None
    before = max(0, int(seconds * 1000) - 1)
    return f"{before}-{2**64 - 1}"  # the last id that the millisecond before can have


def _type_filter(globs: Sequence[str]) -> Callable[[str], bool]:
    """A predicate over event types: any of the shell's globs, or everything where there are none."""
    matches = re.compile("|".join(fnmatch.translate(glob) for glob in globs) or ".*").match
    return lambda type_: matches(type_) is not None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are shown."""

    type: Callable[[str], bool]
    subjects: frozenset[str]
    sources: tuple[str, ...]
    """Whole URIs, and ends of URIs that start with a slash."""

    @classmethod
    def of(
        cls, settings: "Settings", types: Sequence[str], subjects: Sequence[str], sources: Sequence[str]
    ) -> "Wanted":
        """From the command's options; a source may be named as in the configuration."""
        from bridge.subscriptions import resource_of  # noqa: PLC0415

        named = [resource_of(settings, source) for source in sources if source in settings.sources]
        ends = ["/" + source.strip("/") for source in sources]
        return cls(_type_filter(types), frozenset(subjects), (*named, *sources, *ends))

    def __call__(self, entry: Entry) -> bool:
        """Whether this entry is one of them."""
        if not self.type(entry.type) or (self.subjects and entry.subject not in self.subjects):
            return False
        if not self.sources:
            return True
        source = event_line(entry).source
        return any(source == each or (each.startswith("/") and source.endswith(each)) for each in self.sources)


class Printed:
    """Standard output, and how many events it still takes."""

    def __init__(self, wanted: Callable[[Entry], bool], show: Callable[[int, Entry], None], count: int | None) -> None:
        self._wanted = wanted
        self._show = show
        self._left = count

    def take(self, partition: int, entries: Sequence[Entry]) -> bool:
        """Shows those that are wanted; False once it is over: enough were shown, or nobody reads any more."""
        for entry in filter(self._wanted, entries):
            self._show(partition, entry)
            if self._left is not None:
                self._left -= 1
                if not self._left:
                    return False
        sys.stdout.flush()
        return not nobody_reads()


def json_lines(partition: int, entry: Entry) -> None:
    """One JSON object. The event is as it lies in the log; one that is no JSON is a string."""
    event = entry.event.decode(errors="replace")
    try:
        json.loads(event)
    except (ValueError, RecursionError):
        event = json.dumps(event)
    # between its tokens, and nowhere else, valid JSON may hold line ends
    event = event.replace("\r", " ").replace("\n", " ")
    print(f'{{"entry":"{entry.entry}","partition":{partition},"event":{event}}}')


class EventLines:
    """Lines for people, in columns."""

    def __init__(self) -> None:
        self._terminal = Terminal()
        self._columns = Columns(24, 32, 8, 20)

    def __call__(self, _partition: int, entry: Entry) -> None:
        """One line."""
        line, columns = event_line(entry), self._columns
        self._terminal.row(
            (columns(0, line.time), "dim"),
            (columns(1, line.type), type_colour(line.type)),
            (columns(2, line.subject), "bold"),
            (columns(3, line.id), "dim"),
            (line.summary, ""),
        )


async def _follow(settings: "Settings", after: str, printed: Printed) -> None:
    """All partitions side by side. Raises LogUnavailable if one can't be read at the start."""
    from bridge.redis_log import Reader  # noqa: PLC0415  # as above
    from bridge.wiring import keys_of, server_of  # noqa: PLC0415

    readers = [Reader(server_of(settings), keys, after) for keys in keys_of(settings)]
    away = Away("tail")
    try:
        for reader in readers:
            await reader.open()
        await first(*(_partition(number, reader, printed, away) for number, reader in enumerate(readers)))
    finally:
        for reader in readers:
            await reader.close()


async def _partition(number: int, reader: "Reader", printed: Printed, away: "Away") -> None:
    async with aclosing(pages(number, reader, away)) as read:
        async for entries in read:
            if not printed.take(number, entries):
                return


async def pages(number: int, reader: "Reader", away: "Away", count: int = 500) -> AsyncGenerator[list[Entry]]:
    """What one partition brings, page by page, some empty; goes on where it was when Redis has been away.

    Ends when nobody reads standard output any more while Redis is away.
    """
    waits = delays(Random(), first=0.1, longest=2.0)
    while True:
        try:
            entries = await reader.read(count)
        except LogUnavailable as error:
            away.lost(number, error)
            await nap(next(waits))
            if nobody_reads():
                return
            continue
        if away.found(number):
            waits = delays(Random(), first=0.1, longest=2.0)
        yield entries


class Away:
    """Says on standard error that Redis is away, once for all partitions, and that it is back."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._partitions: set[int] = set()

    def lost(self, partition: int, error: LogUnavailable) -> None:
        """This partition can't be read."""
        if not self._partitions:
            print(f"runbridge {self._command}: Redis is away, waiting for it ({error})", file=sys.stderr, flush=True)
        self._partitions.add(partition)

    def found(self, partition: int) -> bool:
        """This partition can be read; True if it could not before."""
        before = len(self._partitions)
        self._partitions.discard(partition)
        if before and not self._partitions:
            print(f"runbridge {self._command}: Redis is back", file=sys.stderr, flush=True)
        return len(self._partitions) < before


def _unreachable(settings: "Settings", error: LogUnavailable) -> str:
    address = settings.redis.address
    if address.startswith("embedded:") and error.code == "CONNECTION":
        return f"no bridge runs on {address}, whose server runs only with it; start `runbridge run` first"
    return f"{address} can't be read: {error}"
