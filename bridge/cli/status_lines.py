"""One screen about a bridge for people: what needs attention first, in words, then all in columns. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from bridge.cli.event_line import printable
from bridge.cli.table import Line, count, rate, short_span, span, table
from bridge.cli.terminal import Part
from bridge.overview import DestinationView, Overview, SourceView

ROWS = 20
"""Sources, and destinations, that a block shows at most."""
FRAME = 6
"""Lines of a block besides sentences and rows: an empty one, headings and what is left out, twice."""
SAID = 8
"""Sentences about what needs attention, at most."""

COLOURS = {
    "connected": "green", "running": "green", "active": "green", "connecting": "yellow", "reconnecting": "yellow",
    "probing": "yellow", "failed": "red", "disabled": "red", "unusable": "red", "fenced": "red", "paused": "blue",
    "ended": "dim",
}  # fmt: skip
_WRONG = ("failed", "unusable", "disabled", "fenced", "probing", "reconnecting")
"""States that need attention, the worst first."""
View = TypeVar("View", SourceView, DestinationView)
_ORDER = (*_WRONG, "connecting", "paused", "new", "connected", "running", "active", "ended")
_SOURCE = ("SOURCE", "STATE", "RATE/s", "LAG", "LAST", "WHY")
_DESTINATION = ("DESTINATION", "STATE", "RATE/s", "BEHIND", "TAKEN UP", "WAITING", "OLDEST", "DEAD", "WHY")
_NUMBERS = frozenset({"RATE/s", "LAG", "LAST", "BEHIND", "TAKEN UP", "WAITING", "OLDEST", "DEAD"})

LATE = 60.0
"""Seconds that the oldest event of an active destination may wait before that needs attention."""
_BESIDE = 62
"""Characters of a destination's row beside its id and the reason; a source's are fewer."""
_SHORTEST = 12


@dataclass(frozen=True, slots=True)
class Concern:
    """Something to look at. `wrong`: it is not in order; otherwise somebody wanted it so, or it can wait."""

    what: str
    said: str
    wrong: bool = True


def concerns(overview: Overview, unanswered: str = "") -> list[Concern]:
    """What needs attention, what is wrong first. `unanswered` is why no bridge answered, where one should have."""
    found = [Concern("bridge", unanswered)] if unanswered else []
    found += [_of_source(source) for source in overview.sources if source.state in _WRONG]
    found += [_of_destination(view) for view in overview.destinations if view.state in _WRONG or late(view)]
    named = {concern.what for concern in found}
    bridge = overview.bridge
    problems = bridge.problems if bridge else {}
    found = [Concern(what, printable(text)) for what, text in problems.items() if what not in named] + found
    if bridge and not bridge.ready and not found:
        found.append(Concern("bridge", "is not ready"))
    return [*found, *_remarks(overview)]


def late(view: DestinationView) -> bool:
    """Whether an active destination needs attention: what waits for it is old, or it says why something waits."""
    old = view.waiting > 0 and (view.oldest_seconds or 0.0) >= LATE
    return view.state == "active" and (old or bool(view.reason))


def _remarks(overview: Overview) -> Iterator[Concern]:
    for destination in overview.destinations:
        if destination.dead:
            said = f"{count(destination.dead, 'dead letter')}; `runbridge dead list` shows them"
            yield Concern(f"destination {destination.id}", said, wrong=False)
    parked = sum(log.parked for log in overview.log)
    if parked:
        said = f"{count(parked, 'parked record')}; `runbridge parked list` shows them"
        yield Concern("log", said, wrong=False)


def _of_source(source: SourceView) -> Concern:
    return Concern(f"source {source.id}", ", ".join(filter(None, (source.state, printable(source.reason)))))


def _of_destination(view: DestinationView) -> Concern:
    since = "" if view.since_seconds is None else f" for {span(view.since_seconds)}"
    entries = f" ({count(view.waiting_entries, 'event')})" if view.waiting_entries else ""
    waits = f"{count(view.waiting, 'subject')} waiting{entries}" if view.waiting else ""
    oldest = f"the oldest event is {span(view.oldest_seconds)} old" if view.oldest_seconds else ""
    return Concern(
        f"destination {view.id}",
        ", ".join(filter(None, (view.state + since, printable(view.reason), waits, oldest))),
    )


@dataclass(frozen=True, slots=True)
class Block:
    """What is shown: sentences, to be read whole, and below them columns, which may be cut to a terminal's width."""

    sentences: list[Line]
    columns: list[Line]


def block(
    overview: Overview, unanswered: str = "", *, height: int | None = None, width: int | None = None
) -> Block:  # fmt: skip
    """The whole of it: at most ROWS sources and ROWS destinations, or as many as go into so many lines.

    Where there is a `width`, ids are cut so that the numbers beside them are seen.
    """
    found = concerns(overview, unanswered)
    sentences = [*_head(overview, unanswered, sum(concern.wrong for concern in found)), *_attention(found)]
    sources, destinations = ordered(overview.sources), ordered(overview.destinations)
    most = left = ROWS
    if height is not None:
        room = max(2, height - len(sentences) - FRAME)
        left = min(len(destinations), room // 2)
        most = room - left
    return Block(
        sentences,
        [
            *_section("sources", source_table(sources[:most], overview.time, width=width), sources[most:]),
            *_section("destinations", destination_table(destinations[:left], width=width), destinations[left:]),
        ],
    )


def ordered(views: Sequence[View]) -> list[View]:
    """Those that need attention first, then as they were."""
    return sorted(views, key=_place)


def _place(view: SourceView | DestinationView) -> int:
    if isinstance(view, DestinationView) and late(view):
        return len(_WRONG)
    return _ORDER.index(view.state) if view.state in _ORDER else 0


def source_table(
    sources: Sequence[SourceView], time: str, *, whole: bool = False, width: int | None = None
) -> list[Line]:  # fmt: skip
    """Sources in columns; `whole` shows what they are, too. `time` is now, RFC 3339."""
    headings = (*_SOURCE[:-1], "KIND", "DEFINED", "WHY") if whole else _SOURCE
    rows = []
    for source in sources:
        last = source.last_event_age_seconds
        last = age(time, source.time) if last is None and source.sequence else last
        row: list[Part] = [
            (_id(source.id, width), "bold"), (source.state, COLOURS.get(source.state, "")), (rate(source.rate), ""),
            (short_span(source.lag_seconds), ""), ("-" if last is None else span(last), ""),
        ]  # fmt: skip
        row += [(source.kind, "dim"), (source.defined, "dim")] if whole else []
        rows.append([*row, (printable(source.reason), "dim")])
    return table(headings, rows, right=_NUMBERS)


def destination_table(destinations: Sequence[DestinationView], *, width: int | None = None) -> list[Line]:
    """Destinations in columns."""
    if width is not None:
        width -= max([0, *(len(waits(view)) - len("WAITING") for view in destinations)])
    rows: list[list[Part]] = [
        [
            (_id(view.id, width), "bold"), (view.state, colour(view)), (rate(view.rate), ""),
            ("?" if view.behind is None else f"{view.behind:,}", ""), (f"{view.in_flight:,}", ""),
            (waits(view), ""), (short_span(view.oldest_seconds), ""),
            (f"{view.dead:,}", "red" if view.dead else ""), (printable(view.reason), "dim"),
        ]
        for view in destinations
    ]  # fmt: skip
    return table(_DESTINATION, rows, right=_NUMBERS)


def colour(view: DestinationView) -> str:
    """The style of its state."""
    return "yellow" if late(view) else COLOURS.get(view.state, "")


def waits(view: DestinationView) -> str:
    """What waits: so many subjects, and of so many events where that is known: 3 (306)."""
    return f"{view.waiting:,} ({view.waiting_entries:,})" if view.waiting_entries else f"{view.waiting:,}"


def _id(id_: str, width: int | None) -> str:
    most = len(id_) if width is None else max(_SHORTEST, width - _BESIDE)
    return printable(id_ if len(id_) <= most else id_[: most - 1] + "…")


def age(now: str, time: str) -> float | None:
    """Seconds from one RFC 3339 time to another; None where one of them is none."""
    try:
        return max(0.0, (datetime.fromisoformat(now) - datetime.fromisoformat(time)).total_seconds())
    except (ValueError, TypeError):
        return None


def _head(overview: Overview, unanswered: str, wrong: int) -> Iterator[Line]:
    bridge = overview.bridge
    if bridge is None:
        why = "" if unanswered else " (http.listen is off)"
        yield (("runbridge", "bold"), (f": this is what Redis has{why}", ""))
    else:
        state = ("ready", "green") if bridge.ready else ("not ready", "red")
        if bridge.ready and wrong:
            state = (f"ready, but {count(wrong, 'thing needs', 'things need')} attention", "yellow")
        up = f" {bridge.version} on {printable(bridge.instance)}, up {span(bridge.uptime_seconds)}: "
        yield (("runbridge", "bold"), (up, ""), state)
    entries, added = sum(log.entries for log in overview.log), sum(log.rate for log in overview.log)
    parts = f" of {len(overview.log)} partitions" if len(overview.log) > 1 else ""
    yield ((f"log{parts}: {count(entries, 'entry', 'entries')}, {rate(added)}/s, at {overview.redis}", ""),)


def _attention(found: Sequence[Concern]) -> Iterator[Line]:
    if not found:
        return
    yield ()
    for concern in found[:SAID]:
        yield (("! " if concern.wrong else "  ", "red"), (f"{printable(concern.what)}: ", "bold"), (concern.said, ""))
    if len(found) > SAID:
        wrong = sum(concern.wrong for concern in found[SAID:])
        yield ((f"  ... and {len(found) - SAID:,} more, {wrong:,} of them not in order", "red" if wrong else ""),)


def _section(what: str, lines: Sequence[Line], hidden: Sequence[SourceView | DestinationView]) -> Iterator[Line]:
    yield ()
    if len(lines) == 1:  # the headings
        yield ((f"no {what}", "dim"),)
        return
    yield from lines
    if hidden:
        yield ((f"... and {len(hidden):,} more, {_states(hidden)}", "dim"),)


def _states(views: Sequence[SourceView | DestinationView]) -> str:
    states = Counter(view.state for view in views).most_common()
    if len(states) == 1:
        return f"all {states[0][0]}" if len(views) > 1 else states[0][0]
    return ", ".join(f"{number:,} {state}" for state, number in states)
