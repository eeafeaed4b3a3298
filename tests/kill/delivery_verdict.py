"""What deliveries have to be after any number of kills, counted. Pure: reads no server."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from kill.findings import Findings
from kill.manners import Arrival, Manner

POISON_EVERY = 50
EARLY, LATE = 0.05, 5.0
"""Seconds by which a retry may miss its stored time: the clocks' grain, and a bridge on its way up."""


class Logged(NamedTuple):
    """One entry of the log."""

    entry: str
    id: str
    type: str
    subject: str

    @property
    def number(self) -> int:
        """Which one of its run it is; -1 for the end, and for events of the bridge's own."""
        digits = self.id.rpartition("-")[2]
        return int(digits) if self.subject.startswith("run-") and digits.isdigit() else -1


def poison(id_: str) -> bool:
    """True for every 50th of a run, at another place in each."""
    run, _, digits = id_.removeprefix("run-").rpartition("-")
    return run.isdigit() and digits.isdigit() and (int(digits) + 7 * int(run)) % POISON_EVERY == 0


@dataclass(frozen=True, slots=True)
class Traits:
    """One destination: how its receiver behaves (None: there is none), its keys, and what it must come to."""

    manner: Manner | None
    keys: str = ""
    attempts: int = 10
    """Attempts of an event that is never taken."""
    dead: Callable[[Logged], bool] | None = lambda _: False
    """Which events end as dead letters; None: whichever fails that often."""
    wants: Callable[[Logged], bool] = lambda _: True
    ordered: bool = True
    batch: int = 1
    in_flight: int = 8


class Due(NamedTuple):
    """What waited at a kill: its first entry, when that was due, attempts made, and when this was read."""

    name: str
    entry: str
    time: float
    attempts: int
    read: float


@dataclass(frozen=True, slots=True)
class Play:
    """All that is known of one destination in the end. `arrivals` is None where nobody listens."""

    name: str
    traits: Traits
    log: Sequence[Logged]
    arrivals: Sequence[Arrival] | None
    letters: Sequence[Mapping[str, str]]
    waiting: Sequence[str]
    position: str
    started: Sequence[float]
    """When the bridge was started or Redis was back."""
    outages: int
    """How often Redis was killed."""
    dues: Sequence[Due]


def judge(play: Play, found: Findings) -> None:
    """Count one destination into the findings."""
    wanted = [event for event in play.log if play.traits.wants(event)]
    arrivals: defaultdict[str, list[Arrival]] = defaultdict(list)
    for arrival in play.arrivals or ():
        for id_ in arrival.ids:
            arrivals[id_].append(arrival)
    taken = {id_ for id_, some in arrivals.items() if any(arrival.taken for arrival in some)}
    dead = Counter(letter["id"] for letter in play.letters)
    _places(play, wanted, taken, dead, found)
    _letters(play, wanted, dead, arrivals, found)
    if play.arrivals is None:
        found.notes.append(f"{play.name}: {len(wanted)} events, {len(dead)} dead letters, {len(play.waiting)} wait")
        return
    _attempts(play, arrivals, dead, found)
    again = _twice(play, arrivals, found)
    _names(play, found)
    if play.traits.ordered:
        _order(play, wanted, arrivals, dead, found)
    _due(play, arrivals, found)
    strangers = arrivals.keys() - {event.id for event in wanted}
    found.check(
        not strangers,
        f"{play.name}: {len(strangers)} events that it does not want, such as {min(strangers, default='')}",
    )
    found.notes.append(
        f"{play.name}: {len(wanted)} events, {len(play.arrivals)} requests, {len(dead)} dead letters, "
        f"{again}"
    )  # fmt: skip


def _places(play: Play, wanted: Sequence[Logged], taken: set[str], dead: Counter[str], found: Findings) -> None:
    """Each wanted event is taken, or a dead letter, or waits, at one place; behind the position nothing waits."""
    waiting = Counter(play.waiting)
    doubly = [entry for entry, times in waiting.items() if times > 1]
    found.check(not doubly, f"{play.name}: {len(doubly)} entries wait twice, such as {doubly[:1]}")
    position = _place(play.position)
    lost = [
        event for event in wanted
        if not (event.id in taken or event.id in dead or event.entry in waiting) and _place(event.entry) <= position
    ]  # fmt: skip
    found.missing += len(lost)
    if lost:
        found.notes.append(f"{play.name}: lost {[event.id for event in lost[:3]]}")
    if play.arrivals is None:
        return
    # events of the bridge's own may have come at the very end
    left = [event for event in wanted if event.number >= 0 and not (event.id in taken or event.id in dead)]
    found.check(len(left) <= len(lost), f"{play.name}: {len(left)} events are still not settled, such as {left[:1]}")
    odd = [event.id for event in wanted if event.number >= 0 and event.entry in waiting]
    found.check(not odd, f"{play.name}: {len(odd)} events of runs still wait, such as {odd[:1]}")


def _letters(
    play: Play, wanted: Sequence[Logged], dead: Counter[str], arrivals: Mapping[str, list[Arrival]], found: Findings
) -> None:
    name, traits = play.name, play.traits
    doubly = [id_ for id_, times in dead.items() if times > 1]
    found.check(not doubly, f"{name}: {len(doubly)} events are dead letters twice, such as {doubly[:1]}")
    attempts = {letter["attempts"] for letter in play.letters}
    found.check(attempts <= {str(traits.attempts)}, f"{name}: dead letters after {attempts} attempts")
    if play.arrivals is None:
        return
    if traits.dead is not None:
        must = {event.id for event in wanted if traits.dead(event) and event.entry not in play.waiting}
        found.check(dead.keys() == must, f"{name}: {len(dead)} dead letters, though {len(must)} events are refused")
    both = [id_ for id_ in dead if any(one.taken and one.life == arrivals[id_][-1].life for one in arrivals[id_])]
    found.check(not both, f"{name}: {len(both)} dead letters that were taken, such as {both[:1]}")


def _attempts(play: Play, arrivals: Mapping[str, list[Arrival]], dead: Counter[str], found: Findings) -> None:
    """A kill may hide the one attempt that was in flight; all others have to be remembered.

    What comes of a batch while Redis is gone may be hidden too: its events go out in other batches then.
    """
    most = play.traits.attempts + (play.outages if play.traits.batch > 1 else 0)
    for id_, some in arrivals.items():
        made = sum(not arrival.repeated for arrival in some)
        hidden = some[-1].life - some[0].life + sum(arrival.repeated for arrival in some[-1:])
        least = play.traits.attempts if id_ in dead else 1
        found.check(
            least <= made <= most + hidden,
            f"{play.name}: {id_}: {made} attempts, though {most} are set and {hidden} kills came between",
        )


def _twice(play: Play, arrivals: Mapping[str, list[Arrival]], found: Findings) -> str:
    """What is taken twice was in flight at a kill: sent, and the log not told; no more of it than can be."""
    doubled: Counter[int] = Counter()
    for id_, some in arrivals.items():
        for first, second in pairwise(some):
            if first.taken is None:
                continue
            if first.life == second.life:
                found.duplicates += 1
                found.notes.append(f"{play.name}: {id_} was sent again though it was taken, and no kill came between")
                continue
            doubled[first.life] += 1
    most = play.traits.in_flight * play.traits.batch
    for life, count in doubled.items():
        found.check(count <= most, f"{play.name}: kill {life} doubled {count} events, of {most} that can be in flight")
    return f"{doubled.total()} taken twice" + (f", at most {max(doubled.values())} by one kill" if doubled else "")


def _names(play: Play, found: Findings) -> None:
    """One `webhook-id` for one set of events, and one set for one id."""
    names, sets = defaultdict(set), defaultdict(set)
    for arrival in play.arrivals or ():
        names[arrival.ids].add(arrival.webhook_id)
        sets[arrival.webhook_id].add(arrival.ids)
    changed = [ids[0] for ids, some in names.items() if len(some) > 1]
    found.check(not changed, f"{play.name}: {len(changed)} came under more than one webhook-id, such as {changed[:1]}")
    shared = [some for some in sets.values() if len(some) > 1]
    found.check(not shared, f"{play.name}: one webhook-id for different events: {shared[:1]}")


def _order(
    play: Play, wanted: Sequence[Logged], arrivals: Mapping[str, list[Arrival]], dead: Counter[str], found: Findings
) -> None:
    """First arrivals are in the log's order, and none comes before the one before it is taken or given up."""
    by_subject: defaultdict[str, list[str]] = defaultdict(list)
    for event in wanted:
        by_subject[event.subject].append(event.id)
    for ids in by_subject.values():
        came = [id_ for id_ in ids if id_ in arrivals]
        for earlier, later in pairwise(came):
            first = arrivals[later][0]
            if earlier in first.ids:
                found.disordered += first.ids.index(later) < first.ids.index(earlier)
            elif not _settled(arrivals[earlier], first, play.traits.attempts if earlier in dead else None):
                found.disordered += 1
                found.notes.append(f"{play.name}: {later} came before {earlier} was settled")


def _settled(earlier: Sequence[Arrival], later: Arrival, attempts: int | None) -> bool:
    if any(arrival.taken and (arrival.taken <= later.at) for arrival in earlier):
        return True
    return attempts is not None and sum(one.at < later.at and not one.repeated for one in earlier) >= attempts


def _due(play: Play, arrivals: Mapping[str, list[Arrival]], found: Findings) -> None:
    """What waited at a kill is tried at the time that was stored, or as soon as there is a bridge again."""
    ids = {event.entry: event.id for event in play.log}
    missed = [0.0]
    for due in play.dues:
        after = [arrival.at for arrival in arrivals[ids[due.entry]] if arrival.at > due.read]
        if not after:
            found.faults.append(f"{play.name}: {ids[due.entry]} was not tried any more")
            continue
        early = due.time - after[0]
        up = max(time for time in play.started if time <= after[0])
        late = after[0] - max(due.time, up)
        missed.append(late)
        found.check(early <= EARLY, f"{play.name}: {ids[due.entry]} came {early:.2f} s early")
        found.check(
            late <= LATE,
            f"{play.name}: {ids[due.entry]} came {late:.2f} s late, {after[0] - due.time:.2f} s after its time, "
            f"{after[0] - up:.2f} s after the last start",
        )
    if play.dues:
        found.notes.append(f"{play.name}: {len(play.dues)} far off retries at kills, at most {max(missed):.2f} s late")


def judge_streams(
    log: Sequence[Logged], read: Callable[[str], Sequence[Any]], keys: Sequence[str], found: Findings
) -> None:
    """Each subject's stream has its events once and in order."""
    by_subject: defaultdict[str, list[str]] = defaultdict(list)
    for event in log:
        by_subject[f"runs:{event.subject}"].append(event.id)
    for key, ids in by_subject.items():
        own = Findings()
        own.count(ids, [fields["id"] for _, fields in read(key)])
        found.duplicates += own.duplicates
        found.missing += own.missing
        found.disordered += own.disordered
        found.faults += [f"copy: {fault}" for fault in own.faults]
    strangers = set(keys) - by_subject.keys()
    found.check(not strangers, f"copy: streams of nobody: {sorted(strangers)[:3]}")


def _place(entry: str) -> tuple[int, int]:
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number)
