"""Judges the log of every kind against what the emulator made. Pure.

What a fault allows, and nothing else does: a record that it made unreadable is in `parked` once, and comes into the
log later, or never; what a gap event with `now` stands for is missing there; spans, which no list has, come behind
the events that a backfill has brought; an event added after the end may come behind it; a work that has been forgotten
upstream goes through its states again, of which only those are new that no wait had seen.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from kill.findings import Findings
from kill.kinds import Kind, Truth

OWN = "dev.runbridge.source."
GAP = f"{OWN}gap"
STATES = ("queued", "dispatching", "running", "cancelling")
_ID, _TIME, _RUN = (re.compile(rf'"{name}":"([^"]+)"') for name in ("id", "time", "runId"))


@dataclass(slots=True)
class Told:
    """What the log has of one source, in its order: the entries with their `event` read, and the parked raws."""

    entries: list[tuple[Mapping[str, Any], str]] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)

    @property
    def said(self) -> Counter[str]:
        """The bridge's own events, by the last part of their type."""
        return Counter(event["type"].removeprefix(OWN) for event, _ in self.entries if event["type"].startswith(OWN))

    def numbered(self, stored: Mapping[str, str]) -> bool:
        """True if the sequence goes up, and counts just what there is."""
        numbers = [int(event["sequence"]) for event, _ in self.entries]
        return sorted(set(numbers)) == numbers and int(stored.get("sequence", 0)) == len(numbers) + len(self.parked)


def judge(kind: Kind, truth: Truth, told: Told, found: Findings) -> str:
    """Count one source's events into the findings; a line about it."""
    order = {id_: at for at, id_ in enumerate(truth.ids)}
    ids, unread, left_out = _walk(kind, truth, order, told)
    for raw in told.parked:
        names = [truth.names.get(name, name) for name in _shown(raw)]
        unread.append(next((name for name in names if name in order), ""))
    anonymous = unread.count("")
    named = {id_ for id_ in unread if id_}
    here = set(ids)
    missing = [id_ for id_ in order if id_ not in here | named | left_out]
    found.events += len(order)
    found.duplicates += len(ids) - len(here) + len(unread) - anonymous - len(named)
    found.missing += max(0, len(missing) - anonymous)
    disorder = _disorder(truth, [id_ for id_ in ids if id_ not in named | left_out], told)
    found.disordered += max(0, disorder - anonymous)  # each may be one that came later
    if disorder > anonymous:
        steps = [(a, b) for a, b in pairwise(id_ for id_ in ids if id_ in order) if order[b] != order[a] + 1]
        found.notes.append(f"{kind.name}: out of order somewhere in {steps[-6:]}")
    most = len(set(truth.group.values()))
    found.check(anonymous <= most, f"{kind.name}: {anonymous} parked records are nobody's")
    if unknown := [id_ for id_ in ids if id_ not in order]:
        found.faults.append(f"{kind.name}: {len(unknown)} entries that nobody sent, such as {unknown[0]}")
    if missing:
        found.notes.append(f"{kind.name}: without a word {missing[:3]}, {anonymous} of them parked without a name")
    changed = [
        event["id"] for event, text in told.entries
        if (body := truth.bodies.get(event["id"])) and not text.endswith(f'"data":{body}}}')
    ]  # fmt: skip
    found.check(not changed, f"{kind.name}: {len(changed)} events are not what was sent, such as {changed[:1]}")
    lost = f", {len(left_out - here)} left out at a gap" if kind.now else ""
    return f"{kind.name}: {len(order)} events{lost}, {len(unread)} parked, {_own(told)}"


def _shown(raw: str) -> list[str]:
    """All that an unreadable record may be known by."""
    moments = [f"{run}@{time}" for run in _RUN.findall(raw) for time in _TIME.findall(raw)]
    return [*_ID.findall(raw), *moments]


def _walk(
    kind: Kind, truth: Truth, order: Mapping[str, int], told: Told
) -> tuple[list[str], list[str], set[str]]:  # fmt: skip
    """The ids in the log; those kept as text under their frame's name; those that a gap event says were left out."""
    ids: list[str] = []
    unread: list[str] = []
    left_out: set[str] = set()
    last, gap = -1, False
    for event, _ in told.entries:
        id_ = event["id"]
        if event["type"].startswith(OWN):
            gap = gap or (event["type"] == GAP and event["data"]["action"] == "now")
        elif id_ not in order and id_ in truth.names:
            unread.append(truth.names[id_])
        else:
            ids.append(id_)
            at = order.get(id_, -1)
            if gap:
                left_out |= set(truth.ids[last + 1 : at])
            gap, last = False, max(last, at)
    return ids, unread, left_out


def _disorder(truth: Truth, ids: Sequence[str], told: Told) -> int:
    """How often an event comes before one that it should follow."""
    order = {id_: at for at, id_ in enumerate(truth.ids)}
    if truth.ended in ids:
        behind = ids[ids.index(truth.ended) + 1 :]
        ids = [id_ for id_ in ids if id_ != truth.ended and not (id_ in truth.late and id_ in behind)]
        early = sum(id_ not in truth.late for id_ in behind)
    else:
        early = 0
    known = [id_ for id_ in dict.fromkeys(ids) if id_ in order]
    apart: dict[str, list[int]] = {}
    for id_ in known:
        apart.setdefault(truth.group[id_], []).append(order[id_])
    within = sum(later < earlier for places in apart.values() for earlier, later in pairwise(places))
    if "trace" in apart:
        mixed = sum(order[later] < order[earlier] for earlier, later in pairwise(known))
        return early + max(within, mixed - told.said["gap"])
    return early + within


def judge_work(id_: str, ending: str, told: Told, forgotten: int, found: Findings) -> int:
    """Count one operation's or invocation's states; how many there are."""
    states = [event["id"].removeprefix(f"{id_}:") for event, _ in told.entries if not event["type"].startswith(OWN)]
    found.events += len(states)
    found.duplicates += len(states) - len(set(states))
    ranks = [_rank(state, ending) for state in states]
    found.check(None not in ranks, f"{id_}: states that it never had: {states}")
    backwards = sum(later < earlier for earlier, later in pairwise(rank for rank in ranks if rank))
    found.disordered += max(0, backwards - forgotten)
    if backwards > forgotten:
        found.notes.append(f"{id_}: out of order: {states}")
    found.missing += states[-1:] != [ending]
    return len(states)


def _rank(state: str, ending: str) -> tuple[int, int] | None:
    status, _, step = state.partition(":")
    if status in STATES:
        return STATES.index(status), int(step or 0)
    return (len(STATES), 0) if state == ending else None


def _own(told: Told) -> str:
    return f"{told.said['gap']} gaps and {told.said['failed']} failures said"


def split(
    entries: Sequence[Mapping[str, str]], parked: Sequence[Mapping[str, str]], homes: Mapping[str, str]
) -> dict[str, Told]:
    """The log apart by the bridge's sources; `homes`: how a CloudEvents `source` begins -> the source's id."""
    apart = {name: Told() for name in homes.values()}
    known: dict[str, str] = {}
    for entry in entries:
        event = json.loads(entry["event"])
        home = event["source"]
        if home not in known:
            fits = [name for start, name in homes.items() if home == start or home.startswith(start.rstrip("/") + "/")]
            assert len(fits) == 1, f"an entry of no source or of several: {home} {fits}"
            known[home] = fits[0]
        apart[known[home]].entries.append((event, entry["event"]))
    for record in parked:
        apart[record["source"]].parked.append(record["raw"])
    return apart
