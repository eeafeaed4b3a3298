"""Dead letters tried again: in order, alone in their subject, once, by the same id, over kills, in every form."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon
from dead import bury, events_of, letters_of, marks, places, raw, retry
from delivering import QUICK, SOURCE, Stage, destination, spread
from destination import destination as lanes_of
from destination import fill, settle
from receiver import Hook, Receiver, accept, hang
from running_log import running_log
from servers import RedisServer
from waiting import wait_until

from bridge.delivery.lane import Settlement, Verdict
from bridge.event import Entry
from bridge.signing import message_id


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


class Judge:
    """A receiver's answers: refuses some, takes its time, and notes what was under way together and what was taken."""

    def __init__(self, *refused: str) -> None:
        self.refused = set(refused)
        self.failing: set[str] = set()
        """Ids that get a 503 at their next attempt, and only then."""
        self.taken: dict[str, list[str]] = defaultdict(list)
        """Subject -> the ids that were taken, in order."""
        self.attempts: Counter[str] = Counter()
        self.beside: list[str] = []
        """Subjects of which two requests were under way together."""
        self.gates: dict[str, asyncio.Event] = {}
        self._open: Counter[str] = Counter()

    async def __call__(self, hook: Hook) -> int:
        """One answer."""
        events = events_of(hook.body)
        subjects = {event["subject"] for event in events}
        self.beside += [subject for subject in subjects if self._open[subject]]
        self._open.update(subjects)
        self.attempts.update(event["id"] for event in events)
        try:
            for event in events:
                if event["id"] in self.gates:
                    await self.gates[event["id"]].wait()
            await asyncio.sleep(0.002)
        finally:
            self._open.subtract(subjects)
        if any(event["id"] in self.refused for event in events):
            return 400
        if failed := self.failing & {event["id"] for event in events}:
            self.failing -= failed
            return 503
        for event in events:
            self.taken[event["subject"]].append(event["id"])
        return 204


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything, until a test says otherwise."""
    async with Receiver() as found:
        yield found


FORMS: dict[str, dict[str, Any]] = {"single": {}, "batched": {"format": "batched"}, "unordered": {"order": "none"}}
SMALL = '[destinations."crm".batch]\nmax_events = 5\nmax_wait_ms = 5\n'
SUBJECTS = ["run-0", "run-1", "run-2"]


async def live(stage: Stage, stop: asyncio.Event) -> list[tuple[str, str]]:
    """Events of the same subjects, all the while."""
    sent: list[tuple[str, str]] = []
    while not stop.is_set():
        some = [(f"{len(sent) + at}-live", subject) for at, subject in enumerate([*SUBJECTS, "run-9"])]
        stage.put(some)
        sent += some
        await asyncio.sleep(0.004)
    return sent


@pytest.mark.parametrize("form", FORMS)
async def test_letters_under_live_traffic(stage: Stage, receiver: Receiver, form: str) -> None:
    """Each is delivered once more, in the log's order and beside nothing of its subject, with the same webhook-id."""
    ordered = form != "unordered"
    dying = spread(3, 12)
    receiver.answer = judge = Judge(*(id_ for id_, _ in dying))
    stage.put(dying)
    there = destination("crm", receiver.url, on_refused="dead", **FORMS[form])
    async with stage.bridge(there, SMALL if form == "batched" else ""):
        await wait_until(lambda: len(stage.dead("crm")) == len(dying), "all are dead")
        judge.refused.clear()
        stop = asyncio.Event()
        traffic = asyncio.ensure_future(live(stage, stop))
        await wait_until(lambda: judge.taken["run-0"], "traffic")
        assert (await retry(stage)).done == len(dying)
        assert (await retry(stage)).done == 0, "asked for twice"
        await wait_until(lambda: not stage.dead("crm"), "no letter is left")
        stop.set()
        sent = await traffic
        await stage.all_settled("crm")
    for subject in SUBJECTS:
        old = [id_ for id_, of in dying if of == subject]
        taken = judge.taken[subject]
        new = [id_ for id_, of in sent if of == subject]
        assert sorted(taken) == sorted(old + new), "each once"
        if ordered:
            assert [id_ for id_ in taken if id_ in old] == old
            assert [id_ for id_ in taken if id_ in new] == new
    if ordered:
        assert judge.beside == []
    assert marks(stage) == {}
    if form != "batched":
        for id_, subject in dying:
            ids = [hook.headers["webhook-id"] for hook in receiver.of(id_)]
            assert ids == [message_id(SOURCE + subject, id_)] * 2


@pytest.mark.parametrize("behind", ["in-the-log", "in-memory"])
async def test_a_letter_goes_before_what_waits(stage: Stage, receiver: Receiver, behind: str) -> None:
    """A letter waits for what is in flight of its subject, and for nothing else; nothing is sent twice by that."""
    receiver.answer = judge = Judge("dies")
    waiting = ["first", "second", "third", "fourth"]
    # what has failed once waits in the log; what comes after it is handed out with some that are to follow it
    out = waiting[0] if behind == "in-the-log" else waiting[1]
    judge.failing = {"first"} if behind == "in-memory" else set()
    gate = judge.gates[out] = asyncio.Event()
    stage.put([("dies", "run-1")])
    async with stage.bridge(destination("crm", receiver.url, retry_schedule=QUICK, on_refused="dead")):
        await wait_until(lambda: stage.dead("crm"), "a letter")
        judge.refused.clear()
        stage.put([(id_, "run-1") for id_ in waiting])
        await wait_until(lambda: judge.attempts[out], "one in flight")
        await retry(stage)
        await wait_until(lambda: "joined" in marks(stage).values(), "the letter has joined")
        gate.set()
        await stage.all_settled("crm")
    at = waiting.index(out) + 1
    assert judge.taken["run-1"] == [*waiting[:at], "dies", *waiting[at:]]
    assert judge.beside == []


async def test_a_letter_goes_before_what_waited_at_the_start(stage: Stage, receiver: Receiver) -> None:
    """A lane that is taken up in the very round in which its letter joins: the letter comes second, nothing twice."""
    bury(stage, "dead", entry="0-1")
    waiting = ["first", "second", "third", "fourth"]
    stage.put([(id_, "run-1") for id_ in waiting])
    async with lanes_of(stage.server, stage.prefix) as crm:
        first, *others = [entry.entry for entry in (await crm.take()).entries]
        hold = settle("run-1", first, Verdict.HOLD, waiting=others)
        await crm.take(hold, settle("run-1", first, Verdict.DONE), heads=0)
    await retry(stage)
    async with stage.bridge(destination("crm", receiver.url)):
        await wait_until(lambda: not stage.dead("crm"), "the letter is delivered")
        await stage.all_settled("crm")
    assert receiver.ids() == ["second", "dead", "third", "fourth"]


async def test_what_is_live_flows_beside_letters_without_order(stage: Stage, receiver: Receiver) -> None:
    """With `order = "none"` a letter that fails again and waits holds up no event of its subject."""
    receiver.answer = judge = Judge("dies")
    stage.put([("dies", "run-1")])
    there = destination("crm", receiver.url, on_refused="dead", order="none", retry_schedule=["1h"])
    async with stage.bridge(there):
        await wait_until(lambda: stage.dead("crm"), "a letter")
        judge.refused.clear()
        judge.failing = {"dies"}
        await retry(stage)
        await wait_until(lambda: judge.attempts["dies"] == 2, "another try")
        stage.put([("live", "run-1")])
        await wait_until(lambda: judge.taken["run-1"] == ["live"], "the live one")
        assert len(stage.dead("crm")) == 1, "it waits"


async def test_nothing_is_lost_by_kill(stage: Stage, receiver: Receiver, tmp_path: Path) -> None:
    """Asked for while no bridge runs, then killed with letters in flight: all are delivered, in order, by one id."""
    letters = [(f"{number}", f"run-{number % 2}") for number in range(20)]
    for number, (id_, subject) in enumerate(letters):
        bury(stage, id_, subject, entry=f"{number + 1}-1")
    stage.put([("live", "run-0")])
    receiver.answer = hang
    assert (await retry(stage)).done == 20
    async with Daemon(tmp_path, stage.config(destination("crm", receiver.url))) as daemon:
        await wait_until(lambda: len(set(receiver.ids()) - {"live"}) == 2, "a letter of each subject in flight", 20)
        daemon.kill()
        assert len(stage.dead("crm")) == 20
        first = len(receiver.hooks)
        receiver.answer = accept
        daemon.start()
        await wait_until(lambda: not stage.dead("crm"), "no letter is left", 20)
        await stage.all_settled("crm")
    after = [hook.id for hook in receiver.hooks[first:]]
    for subject in ("run-0", "run-1"):
        assert [id_ for id_ in after if (id_, subject) in letters] == [id_ for id_, of in letters if of == subject]
    for id_, subject in letters:
        assert {hook.headers["webhook-id"] for hook in receiver.of(id_)} == {message_id(SOURCE + subject, id_)}
    assert marks(stage) == {}


async def test_a_letter_that_dies_again_is_a_new_one(stage: Stage, receiver: Receiver) -> None:
    """All attempts are made anew; then there is one letter, with the new error, about the same entry of the log."""
    bury(stage, "e1", error="of old", entry="7-7")
    receiver.answer = Judge("e1")
    (before,) = raw(stage)
    async with stage.bridge(destination("crm", receiver.url, retry_schedule=QUICK)):
        await retry(stage)
        await wait_until(lambda: raw(stage) and raw(stage)[0][0] != before[0], "a new letter")
        await stage.all_settled("crm")
    ((letter, fields),) = raw(stage)
    assert letter > before[0]
    assert (fields["entry"], fields["attempts"], fields["last_status"]) == ("7-7", "3", "400")
    assert fields["last_error"] != "of old"
    assert (fields["event"], marks(stage)) == (before[1]["event"], {})


def dead(entry: str, id_: str, subject: str = "s") -> Settlement:
    """The end of an entry that flows."""
    return settle(subject, entry, Verdict.DEAD, 1, dead=Entry(entry, id_, "t", subject, b"{}"))


async def test_dropped_letters_hold_no_lane(server: RedisServer, prefix: str) -> None:
    """Dropped while it waits, first or behind others, a letter is passed over, and no entry is said to be missing."""
    stage = Stage(server, prefix)
    entries = fill(server, prefix, [(f"e{number}", "s") for number in range(5)])
    async with lanes_of(server, prefix) as crm, letters_of(stage) as letters:
        await crm.take()
        await crm.take(*(dead(entry, f"e{at}") for at, entry in enumerate(entries[:4])), settled=entries[4:])
        await retry(stage)
        await crm.lanes.again(await crm.lanes.requests(10), ordered=True)
        (live,) = fill(server, prefix, [("live", "s")])
        await crm.take(heads=0)
        all_of_them = await places(letters)
        assert (await letters.drop(all_of_them[1:3])).retrying == 2, "not without force"
        assert (await letters.drop([all_of_them[0], *all_of_them[1:3]], force=True)).done == 3
        (head,) = (await crm.take()).heads
        assert (head.entries, head.missing) == ((), 0)
        came = await crm.take(settle("s", head.ids[0], Verdict.DONE))
        assert ([entry.id for entry in came.heads[0].entries], came.missing) == (["e3"], 0)
        last = came.heads[0]
        assert (await letters.drop(all_of_them[3:], force=True)).done == 1
        again = settle("s", last.ids[0], Verdict.DEAD, 1, dead=last.entries[0])
        came = await crm.take(again)
        assert [entry.entry for entry in came.heads[0].entries] == [live]
        assert (raw(stage), marks(stage)) == ([], {}), "dropped while in flight: it does not come back"
        await crm.take(settle("s", live, Verdict.DONE))
    assert not server.call("EXISTS", stage.keys.held("crm"), stage.keys.oldest("crm"), stage.keys.due("crm"))


async def test_a_dropped_letter_is_no_missing_entry(stage: Stage, receiver: Receiver) -> None:
    """What the daemon says of a letter that was dropped before its turn: nothing."""
    bury(stage, "e1")
    bury(stage, "e2")
    await retry(stage)
    async with letters_of(stage) as letters:
        await letters.drop((await places(letters))[:1], force=True)
    async with stage.bridge(destination("crm", receiver.url)) as app:
        await wait_until(lambda: not stage.dead("crm"), "the other is delivered")
        await stage.all_settled("crm")
    assert receiver.ids() == ["e2"]
    assert app is not None


async def test_what_waits_behind_a_letter_is_not_trimmed(server: RedisServer, prefix: str) -> None:
    """By age nothing goes that waits in a lane of a letter, also after the letter has failed once more."""
    stage = Stage(server, prefix)
    (entry,) = fill(server, prefix, [("e1", "s")])
    async with running_log(server.url, prefix, retention=0.0) as running, lanes_of(server, prefix) as crm:
        running.log.destinations.add("crm")
        await crm.take()
        await crm.take(dead(entry, "e1"))
        await retry(stage)
        await crm.lanes.again(await crm.lanes.requests(10), ordered=True)
        (live,) = fill(server, prefix, [("live", "s")])
        (head,) = (await crm.take()).heads
        await crm.take(settle("s", head.ids[0], Verdict.RETRY, 1, 0.0), heads=0)
        assert (await running.log.trim(0)) == (1, 0)
        (head,) = (await crm.take()).heads
        came = await crm.take(settle("s", head.ids[0], Verdict.DONE))
        assert [one.entry for one in came.heads[0].entries] == [live]
        await crm.take(settle("s", live, Verdict.DONE))


async def test_many_letters_of_one_subject(server: RedisServer, prefix: str) -> None:
    """Whatever the order they are asked in, and whatever they were given up in, the lane has them in the log's."""
    stage = Stage(server, prefix)
    fill(server, prefix, [("e", "s")])
    for number in range(200):
        bury(stage, f"e{number}", "s", entry=f"{(number * 77) % 200 + 1}-1")
    async with lanes_of(server, prefix) as crm:
        await crm.take(settled=())
        await retry(stage)
        while requests := await crm.lanes.requests(64):
            await crm.lanes.again(requests, ordered=True)
        assert not server.call("EXISTS", stage.keys.requests(), stage.keys.requests("crm"))
        lane = server.call("LRANGE", stage.keys.lane("crm") + "s", 0, -1)
    order = [int(one.rpartition(":")[2].partition("-")[0]) for one in lane]
    assert order == sorted(order)
    assert len(order) == 199, "the first of the first call is the lane's head"
