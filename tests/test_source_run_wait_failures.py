"""What can go wrong with `bctrl.run-events.wait`, at the same time, in one real daemon: what each source makes of it.

One play serves all tests of this module: a source for each mishap on a scripted upstream, for some nine seconds, in
which waits that bring nothing have to show how they are slowed down.
"""

import json
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from daemon import run_wait_source
from playing import Played, once
from servers import RedisServer
from upstream import (
    HANG,
    SECOND,
    Exchange,
    Request,
    Script,
    Upstream,
    after,
    answer,
    at_once,
    gaps,
    happened,
    waited,
)

from bridge.sources.run_events_wait import REPEATS

WAIT, RUN, LIST = "/v1/runs/{}/events/wait", "/v1/runs/{}", "/v1/runs/{}/events"
SECONDS = 9.0
MIB = 1 << 20

first, second, late = (happened(id_) for id_ in ("e1", "e2", "late"))
ACTIVE = answer(200, {"id": "r", "status": "active", "finishedAt": None})
STOPPED = answer(200, {"data": {"id": "r", "status": "stopped", "finishedAt": "2026-06-25T12:01:00Z"}})
NO_RUN = answer(404, {"code": "run.not_found", "error": "no such run"})
NO_ROUTE = answer(404, {"code": "route.not_found", "error": "no such route"})
NO_CURSOR = answer(400, {"code": "pagination.cursor_invalid", "error": "expired"})
TIMED_OUT = after(1.0, waited())


def ever_new(event: dict[str, Any] | None) -> Script:
    """The same answer each time, but for its cursor."""
    numbers = count()

    async def script(exchange: Exchange) -> None:
        await waited(event, cursor=f"n{next(numbers)}")(exchange)

    return script


def body(*members: str) -> Script:
    """An answer's text, member by member in this order."""
    return answer(200, "{{{}}}".format(",".join(members)).encode())


LARGE = json.dumps(happened("large", data={"text": "x" * (MIB + 8192), "cursor": "inner"}))
NEARLY = json.dumps(happened("nearly", data="x" * MIB))
CURSOR, EVENT, TIMED = '"cursor":"behind"', f'"event":{LARGE}', '"timedOut":false'
OVERSIZED = {
    "before": body(CURSOR, EVENT, TIMED), "timed-before": body(TIMED, CURSOR, EVENT), "behind": body(EVENT, CURSOR),
    "between": body(EVENT, CURSOR, TIMED), "nearly": body(f'"event":{NEARLY}', CURSOR, TIMED),
}  # fmt: skip
"""An event above the configured 1 MiB, and where the answer has its cursor."""

UNREADABLE = {
    "json": (b'{"event":{"id":"e', "not JSON"), "html": (b"<html>log in</html>", "not JSON"),
    "empty": (b"", "not JSON"), "array": (b'[{"id":"e"}]', "not a JSON object"),
    "latin": (b'{"event":"\xff"}', "not UTF-8"),
    "deep": (b'{"event":' + b"[" * 100_000, "nested too deeply"),
    "bare": (b"{}", "neither `event` nor `timedOut`"),
    "other": (b'{"cursor":"c","events":[{"id":"e"}]}', "neither `event` nor `timedOut`"),
}  # fmt: skip
"""Answers of which neither event nor cursor can be read, and why."""
EVENTS = {
    "text": ("x", "not a JSON object"), "number": (5, "not a JSON object"), "list": ([1], "not a JSON object"),
    "nothing": ({}, "no id"), "no-id": ({"type": "t", "data": 1}, "no id"), "no-type": ({"id": "e"}, "no type"),
}  # fmt: skip
"""Events that can't be read in answers that can, and why."""

NOTHING = {f"nothing-{number}": waited() if number % 2 else answer(200, {"event": None, "timedOut": False})
           for number in range(12)}  # fmt: skip
HOT = {
    **NOTHING, "moving": ever_new(None), "same": waited(first, cursor="c1"),
    "same-moving": ever_new(first), "same-null": waited(first, cursor=None),
}  # fmt: skip
"""Answers that come at once, and again and again."""
OVER = ("failed", "ended", "stopped", "completed", "cancelled")
GAPS = ("earliest", "now", "backfill", "stop")

SCRIPTS: dict[str, tuple[Script, ...]] = {
    **{name: (script,) for name, script in HOT.items()},
    "healthy": (waited(first, cursor="c1"), waited(second, cursor="c2"), HANG),
    "wrapped": (answer(200, {"data": {"event": first, "cursor": "c1", "timedOut": False}}), waited(second), HANG),
    "twice": (waited(first, cursor="c1"), waited(first, cursor="c2"), waited(second, cursor="c3"),
              waited(second, cursor="c4"), HANG),
    "news": (waited(), waited(), waited(first, cursor="c1"), waited(), HANG),
    "half": (after(0.6, waited()),),
    "idle": (TIMED_OUT,),
    **{f"oversized-{name}": (script, waited(second, cursor="c2"), HANG) for name, script in OVERSIZED.items()},
    "oversized-lost": (body(EVENT, '"cursor":null', TIMED),),
    **{f"unreadable-{name}": (answer(200, said), waited(second, cursor="c2"), HANG)
       for name, (said, _) in UNREADABLE.items()},
    **{f"event-{name}": (waited(said, cursor="c1"), waited(second, cursor="c2"), HANG)
       for name, (said, _) in EVENTS.items()},
    "unreadable-again": (answer(200, b"<html>"),),
    "gone": (NO_RUN, waited(first, cursor="c1"), HANG),
    "there": (NO_RUN, waited(first, cursor="c1"), HANG),
    "unserved": (NO_ROUTE, waited(first, cursor="c1"), HANG),
    "lost": (waited(first, cursor="c1"), NO_RUN, waited(second, cursor="c2"), HANG),
    **{f"gap-{action}": (waited(first, cursor="c1"), NO_CURSOR, *[waited(cursor="now")] * (action == "backfill"),
                         waited(first, cursor="d1"), waited(second, cursor="d2"), HANG) for action in GAPS[:3]},
    "gap-stop": (waited(first, cursor="c1"), NO_CURSOR),
    **{f"over-{status}": (waited(first, cursor="c1"), TIMED_OUT) for status in OVER},
    "over-late": (TIMED_OUT, waited(late, cursor="c1"), TIMED_OUT),
    "over-same": (waited(first, cursor="c1"),),
    "over-wrapped": (TIMED_OUT,),
    "unknown": (TIMED_OUT, waited(first, cursor="c1"), HANG),
}  # fmt: skip
LOOKS = {
    "gone": NO_RUN, "there": ACTIVE, "lost": ACTIVE, "idle": ACTIVE, "over-late": STOPPED, "over-same": STOPPED,
    "over-wrapped": STOPPED, "unknown": NO_ROUTE,
    **{f"over-{status}": answer(200, {"id": "r", "status": status}) for status in OVER},
}  # fmt: skip
"""What `GET` of the run says; another is not served."""


class Play(Played):
    """What was seen, as these tests look at it."""

    def waits(self, name: str) -> list[Request]:
        """The waits of a source."""
        return [request for request in self.requests if request.path == WAIT.format(name)]

    def cursors(self, name: str) -> list[str | None]:
        """What its waits were asked to go on from."""
        return [request.said.get("cursor") for request in self.waits(name)]


async def _play(directory: Path, server: RedisServer) -> Play:
    async with Upstream() as upstream:
        for name, scripts in SCRIPTS.items():
            upstream.on(WAIT.format(name), *scripts)
        for name, script in LOOKS.items():
            upstream.on(RUN.format(name), script)
        upstream.on(LIST.format("gap-backfill"), answer(200, {"data": [first, second], "nextCursor": None}))
        sources = {name: run_wait_source(name, run=name, recheck="2s", max_event_bytes="1MiB",
                                         on_gap=name.removeprefix("gap-") if name.startswith("gap-") else "earliest")
                   for name in SCRIPTS}  # fmt: skip
        return await Play.watch(directory, server, upstream, sources, first=WAIT.format("idle"), seconds=SECONDS)


@pytest.fixture(scope="module")
def play(shared_servers: dict[str, RedisServer], tmp_path_factory: pytest.TempPathFactory) -> Play:
    """The play, once."""
    return once(_play, shared_servers, tmp_path_factory)


@pytest.mark.parametrize("name", [*HOT, "half", "idle", "oversized-lost", "unreadable-again"])
def test_what_brings_nothing_is_slowed_down(play: Play, name: str) -> None:
    """An answer without news, or ever the same one, is asked for again after a second or more, never in a hot loop."""
    waits = play.waits(name)
    starts = [later.at - earlier.at for earlier, later in pairwise(waits)]
    repeats = name.startswith("same")  # the first is news
    free = repeats + (REPEATS if name == "same-moving" else 0)  # a new cursor is progress, for some times
    assert min(starts[free:]) >= SECOND
    assert 3 <= len(waits) <= play.seconds / SECOND + 2 + free
    assert len(play.ids(name)) == repeats
    assert play.sources[name]["state"] == "running"


def test_slowing_down_grows(play: Play) -> None:
    """Each pause may be twice as long as the one before: of twelve second pauses, one is longer than any first."""
    pauses = [gaps(play.waits(name)) for name in NOTHING]
    assert max(first for first, *_ in pauses) < 2.3
    assert max(second for _, second, *_ in pauses) > 2.3


def test_time_outs_are_re_armed_at_once(play: Play) -> None:
    """A wait that lasted as long as it was asked to is followed by the next, so nothing is seen late."""
    assert len(play.waits("idle")) >= play.seconds * 0.7
    assert at_once([*gaps(play.waits("healthy")), *gaps(play.waits("idle"))])


def test_news_end_the_slowing_down(play: Play) -> None:
    """After an event the next wait follows at once, and the next pause is a first one again."""
    one, two, none, again = gaps(play.waits("news"))
    assert min(one, two, again) >= SECOND
    assert none < SECOND
    assert again < 2.3


def test_new_cursors_are_stored_whatever_they_come_with(play: Play) -> None:
    """An instant answer with a new cursor and no news stores it, and the next wait goes on from it."""
    for name in ("moving", "same-moving"):
        asked = play.cursors(name)
        assert asked == [None, *(f"n{number}" for number in range(len(asked) - 1))]
        assert int(play.sources[name]["cursor"][1:]) >= len(asked) - 2


@pytest.mark.parametrize("name", OVERSIZED)
def test_oversized_event_is_parked_and_gone_past(play: Play, name: str) -> None:
    """An event above `max_event_bytes` is parked with its beginning, and the cursor is found wherever it stands."""
    source = f"oversized-{name}"
    assert play.cursors(source) == [None, "behind", "c2"]
    assert play.ids(source) == ["e2"]
    assert at_once(gaps(play.waits(source)))
    kept = [len(raw) for reason, raw in play.parked if reason.startswith("oversized")]
    assert len(kept) == len(OVERSIZED) + 1
    assert max(kept) <= MIB + 4096


def test_oversized_event_without_a_cursor_is_said(play: Play) -> None:
    """Where the cursor behind a large event is not to be found, the source says so and what to do."""
    assert set(play.cursors("oversized-lost")) == {None}
    line = play.daemon.lines("source.interrupted", source="oversized-lost")[0]
    assert "its cursor was not found: raise max_event_bytes" in line["reason"]


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_answer_is_parked(play: Play, name: str) -> None:
    """An answer that can't be read is parked with its bytes and the reason; the same is asked for again, later."""
    source, (said, reason) = f"unreadable-{name}", UNREADABLE[name]
    assert (reason, said) in play.parked
    assert play.cursors(source) == [None, None, "c2"]
    assert gaps(play.waits(source))[0] >= SECOND
    assert play.ids(source) == ["e2"]
    line = play.daemon.lines("source.interrupted", source=source)[0]
    assert line["reason"] == f"an answer could not be read: {reason}"


@pytest.mark.parametrize("name", EVENTS)
def test_unreadable_event_is_parked(play: Play, name: str) -> None:
    """An event that can't be read is parked with its bytes and the reason; the cursor behind it goes on, at once."""
    source, (said, reason) = f"event-{name}", EVENTS[name]
    assert (reason, json.dumps(said).encode()) in play.parked
    assert play.cursors(source) == [None, "c1", "c2"]
    assert play.ids(source) == ["e2"]
    assert at_once(gaps(play.waits(source)))


def test_what_is_parked_is_parked_once(play: Play) -> None:
    """The same answer again and again is one parked record, and nothing else is parked."""
    assert len(play.parked) == len(OVERSIZED) + 1 + len(UNREADABLE) + len(EVENTS) + 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gone", "404 run.not_found: no such run"),
     ("there", "404 run.not_found: no such run; the run is there: this API version is not served here"),
     ("unserved", "404 route.not_found: no such route: this API version is not served here")],
)  # fmt: skip
def test_404_is_a_refusal_that_is_looked_at_again(play: Play, name: str, reason: str) -> None:
    """A 404 fails the source, once, and says whether the run is gone or the call is not served; then it may run."""
    assert play.ids(name) == ["failed", "e1"]
    assert play.about(name)[0]["data"]["reason"].startswith(reason)
    assert gaps(play.waits(name))[0] >= 1.9
    assert play.sources[name]["state"] == "running"


def test_404_to_a_cursor_is_about_the_cursor_where_the_run_is_there(play: Play) -> None:
    """If the run itself answers, the cursor is what is not found: a gap."""
    assert play.ids("lost") == ["e1", "gap", "e2"]
    assert play.cursors("lost") == [None, "c1", None, "c2"]


@pytest.mark.parametrize("action", GAPS)
def test_refused_cursor_follows_on_gap(play: Play, action: str) -> None:
    """`earliest` and `now` wait without it, `backfill` reads the list first, `stop` waits for a person.

    Each is said once, however often the cursor is tried again.
    """
    name = f"gap-{action}"
    gap = next(event["data"] for event in play.about(name) if event["type"].endswith("gap"))
    assert gap["reason"] == "400 pagination.cursor_invalid: expired"
    assert (gap["cursor"], gap["action"], gap["certain"]) == ("c1", action, True)
    found = {
        "earliest": (["e1", "gap", "e2"], [None, "c1", None, "d1", "d2"]),
        "now": (["e1", "gap"], [None, "c1", None, "d1", "d2"]),
        "backfill": (["e1", "gap", "e2"], [None, "c1", None, "now", "d1", "d2"]),
        "stop": (["e1", "gap"], [None, "c1", "c1", "c1"]),
    }
    ids, asked = found[action]
    assert play.ids(name) == ids
    assert play.cursors(name)[: len(asked)] == asked
    assert play.sources[name]["state"] == ("failed" if action == "stop" else "running")


@pytest.mark.parametrize("name", [*(f"over-{status}" for status in OVER), "over-late", "over-same", "over-wrapped"])
def test_run_that_is_over_ends_the_source(play: Play, name: str) -> None:
    """Each last status of a run, wrapped or not, ends its source after one more short wait, for good."""
    events = {"over-late": ["late"], "over-wrapped": []}.get(name, ["e1"])
    assert play.ids(name) == [*events, f"{name}:ended"]
    assert play.sources[name]["state"] == "ended"
    assert play.about(name)[-1]["type"] == "ai.bctrl.run.ended"
    assert len(play.waits(name)) == 3 - (name == "over-wrapped")
    assert play.daemon.lines("source.ended", source=name)
    looks = [request for request in play.requests if request.path == RUN.format(name)]
    assert len(looks) == 1
    assert play.requests.index(looks[0]) > play.requests.index(play.waits(name)["e1" in events])


def test_run_that_can_not_be_looked_at_goes_on(play: Play) -> None:
    """Where `GET` of the run is not served, its waits go on."""
    assert play.ids("unknown") == ["e1"]
    assert play.cursors("unknown") == [None, None, "c1"]


def test_the_bridge_itself_is_never_the_failure(play: Play) -> None:
    """No worker of the bridge breaks on what an upstream does, and one wait of a source is under way at a time."""
    assert play.daemon.lines("worker.restarted") == []
    assert min(pause for name in SCRIPTS for pause in gaps(play.waits(name))) >= 0.0


def test_answers_of_the_next_era_are_wrapped(play: Play) -> None:
    """An answer within `data`, as the calls of the v2 era wrap theirs, is read as one without."""
    assert play.ids("wrapped") == ["e1", "e2"]
    assert play.cursors("wrapped")[:2] == [None, "c1"]


def test_an_event_told_twice_is_not_slowed_down(play: Play) -> None:
    """An upstream that tells the event at the cursor once more, but goes on, is followed at its own speed."""
    assert play.cursors("twice") == [None, "c1", "c2", "c3", "c4"]
    assert play.ids("twice") == ["e1", "e2"]
    assert at_once(gaps(play.waits("twice")))
