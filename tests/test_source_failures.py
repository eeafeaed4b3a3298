"""Everything that can go wrong upstream, at the same time, in one real daemon: what each source makes of it.

One play (`mishaps`) serves all tests of this module. A test looks at what was asked, logged and said about its sources.
"""

import pytest
from daemon import ANCHOR_KEY, BCTRL_KEY
from mishaps import (
    AMBIGUOUS,
    CERTAIN,
    PASSING,
    REASONS,
    REFUSALS,
    RETRY,
    RUN,
    RUNS,
    STREAM,
    STREAMS_ONLY,
    UNREADABLE,
    WAIT,
    Play,
    played,
)
from playing import once
from servers import RedisServer
from upstream import SECOND, at_once, gaps

from bridge.sources.event_wait import MAX_BODY


@pytest.fixture(scope="module")
def play(shared_servers: dict[str, RedisServer], tmp_path_factory: pytest.TempPathFactory) -> Play:
    """The play, once."""
    return once(played, shared_servers, tmp_path_factory)


@pytest.mark.parametrize("name", PASSING)
def test_failure_without_progress_backs_off(play: Play, name: str) -> None:
    """Whatever goes wrong in passing is tried again after one to two seconds at first, and is no event."""
    first = play.daemon.lines("source.interrupted", source=f"stream-{name}", progress=False)[0]
    assert 1.0 <= first["delay"] <= 2.0
    assert first["reason"].startswith(REASONS.get(name, ""))
    requests = play.stream(name)
    # a GET that got no byte of an answer is sent once more by the HTTP client itself (RFC 9110, 9.2.2), and a
    # redirect is followed three times
    later = {"cut": 2, "loop": 4}.get(name, 1)
    pauses = gaps(requests)[1 if name == "early-end" else later - 1 :: later]
    assert min(pauses, default=1.0) >= SECOND
    assert play.states[STREAM.format(name)]["state"] == "running"
    assert [event["id"] for event in play.about("runs", name)] == ["replayed"] * (name == "early-end")


def test_replayed_events_are_no_progress(play: Play) -> None:
    """The first connection brought something new and is replaced at once; one that only repeats it is not."""
    first, *others = gaps(play.stream("early-end"))
    assert first < SECOND
    assert min(others, default=1.0) >= SECOND


def test_progress_is_replaced_at_once_within_the_budget(play: Play) -> None:
    """A server that ends each connection after ten new events costs no time thirty times, then a second each."""
    assert [event["id"] for event in play.about("runs", "budget")] == [f"b{n}" for n in range(340)]
    pauses = gaps(play.stream("budget"))
    assert at_once(pauses[:30]), pauses
    assert all(SECOND < pause < 1.6 for pause in pauses[30:]), pauses


def test_silent_connection_is_replaced(play: Play) -> None:
    """A connection without a byte for `idle_timeout` is dead, before its head too; a comment is a byte."""
    first, second, _ = ((request.until or 0.0) - request.at for request in play.stream("silent"))
    assert 2.9 <= first < 4.5, "four comments, half a second apart, then a second of silence"
    assert 0.9 <= second < 2.5
    assert play.daemon.lines("source.interrupted", source="stream-silent", reason="no byte within the time allowed")


@pytest.mark.parametrize("kind", ["stream-", "wait-slow-"])
def test_retry_after_is_honoured_and_capped(play: Play, kind: str) -> None:
    """429 and 503 are left alone for as long as they ask, but never for hours; nonsense and zero change nothing."""
    delays = {name: play.daemon.lines("source.interrupted", source=f"{kind}{name}")[0]["delay"] for name in RETRY}
    assert 3.0 <= delays["seconds"] <= 3.3
    assert 300.0 <= delays["hours"] <= 301.0
    assert 1.0 <= delays["zero"] <= 2.0
    assert 1.0 <= delays["nonsense"] <= 2.0
    asked = play.stream if kind == "stream-" else lambda name: play.wait(f"slow-{name}")
    for name in RETRY.keys() - {"hours"}:
        assert delays[name] - 0.05 <= gaps(asked(name))[0] < delays[name] + 1.0
    assert play.stream("date")[1].at >= play.date


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_stream_is_failed_and_comes_back(play: Play, name: str) -> None:
    """A refusal is a state with its reason, one event and one line however often it is repeated; then it runs again."""
    source, (_, status, reason) = f"stream-{name}", REFUSALS[name]
    (event,) = play.of("failed")[source]
    assert event["status"] == status
    assert event["reason"].startswith(reason)
    assert ("version is not served here" in event["reason"]) == (name in {"404-html", "route", "there"})
    assert len(play.daemon.lines("source.failed", source=source)) == 1
    assert play.daemon.lines("source.interrupted", source=source) == []
    assert min(gaps(play.stream(name))) >= SECOND
    assert [event["id"] for event in play.about("runs", name)][1:] == [f"e-{name}"]
    assert play.states[STREAM.format(name)]["state"] == "running"


@pytest.mark.parametrize("refusal", REFUSALS.keys() - STREAMS_ONLY)
def test_refused_wait_is_failed_and_comes_back(play: Play, refusal: str) -> None:
    """A refused wait is no possible loss; it is asked again slowly, and what it brings then is stored."""
    name, (_, status, reason) = f"refused-{refusal}", REFUSALS[refusal]
    (event,) = play.of("failed")[f"wait-{name}"]
    assert event["status"] == status
    assert event["reason"].startswith(reason)
    assert len(play.daemon.lines("source.failed", source=f"wait-{name}")) == 1
    assert min(gaps(play.wait(name))[:2]) >= SECOND
    assert [event["type"].rpartition(".")[2] for event in play.about("events", name)] == ["failed", "signaled"]
    assert play.states[WAIT.format(name)]["state"] == "running"


def test_a_404_is_about_the_cursor_where_the_run_is_there(play: Play) -> None:
    """A 404 to a cursor is a gap if the run itself answers: it is said, and the stream begins anew."""
    gap, no_list = play.of("gap")["stream-lost"]
    assert gap["reason"] == "404 run.not_found: no such run; the run is there, so it is the cursor"
    assert (gap["cursor"], gap["action"], gap["certain"]) == ("l1", "backfill", True)
    assert no_list["reason"].startswith("there is no list to read the history from: 404 route.not_found")
    assert (no_list["action"], no_list["certain"]) == ("earliest", False)
    assert play.daemon.lines("source.gap", source="stream-lost", reason=gap["reason"])
    assert [request.cursor for request in play.stream("lost")] == [(None, None), ("l1", "l1"), (None, None)]
    ids = [event["id"] for event in play.about("runs", "lost") if "runbridge" not in event["type"]]
    assert ids == ["l1", "l2"]


def test_a_run_is_asked_for_where_its_stream_does_not_say(play: Play) -> None:
    """`GET` of a run follows each 404 and each end that brought nothing new; a run that is over ends the source."""
    looks = {run: len(play.requests[RUN.format(run)]) for run in RUNS}
    counts = {"gone": 3, "there": 3, "vanished": 1, "lost": 1, "over": 1}
    assert {run: looks[run] for run in counts} == counts
    assert looks["no-event"] >= len(play.stream("no-event")) - 1
    first, last = play.about("runs", "over")
    assert (first["id"], last["id"], last["type"]) == ("o1", "over:ended", "ai.bctrl.run.ended")
    assert (last["time"], last["data"]["status"]) == ("2026-06-25T12:01:00Z", "failed")
    assert len(play.stream("over")) == 3  # the last one after the look: something may have come before it
    assert play.of("failed")["stream-vanished"][0]["reason"].startswith("404 run.not_found: no such run: ")


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_end_is_a_possible_loss(play: Play, name: str) -> None:
    """A wait that ends without an answer is a gap event and a line, and is armed again with a delay."""
    source, reason = f"wait-{name}", AMBIGUOUS[name][1]
    (gap,) = play.of("gap")[source]
    assert gap["certain"] is False
    assert gap["reason"].startswith(reason)
    assert play.daemon.lines("loss.possible", source=source, reason=gap["reason"])
    assert gaps(play.wait(name))[0] >= SECOND


def test_answers_and_refused_connections_are_no_loss(play: Play) -> None:
    """Only ambiguous ends are possible losses: neither an error of the server's own nor a connection never made."""
    possible = {source for source, said in play.of("gap").items() if not said[0]["certain"]}
    assert possible == {f"wait-{name}" for name in AMBIGUOUS}
    lost = {line["source"] for line in play.daemon.lines("loss.possible")}
    assert lost == {*possible, "stream-lost"}  # the list of the latter's run, which would tell the rest, isn't served
    for name, (_, reason) in CERTAIN.items():
        assert play.daemon.lines("source.interrupted", source=f"wait-{name}")[0]["reason"].startswith(reason)
        assert gaps(play.wait(name))[0] >= SECOND
    unreachable = play.daemon.lines("source.interrupted", source="wait-unreachable")
    assert unreachable[0]["reason"].startswith("can't connect")


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_answer_is_parked(play: Play, name: str) -> None:
    """A 200 that is no signal is parked with its bytes, and is no reason to ask again at once."""
    parked = {raw: reason for reason, raw in play.parked}
    body = UNREADABLE[name][:MAX_BODY]
    assert parked[body].startswith("oversized" if name == "large" else "no signal in the answer")
    assert gaps(play.wait(name))[0] >= SECOND
    assert [event["data"] for event in play.about("events", name)] == [{"n": 1}]


def test_everything_else_goes_on(play: Play) -> None:
    """Sixty sources in trouble disturb neither a healthy stream nor a healthy wait, which is re-armed at once."""
    assert [event["id"] for event in play.about("runs", "healthy")] == ["h1", "h2"]
    assert [event["data"] for event in play.about("events", "healthy")] == [{"n": 1}]
    assert len(play.stream("healthy")) == 1
    assert at_once(gaps(play.wait("healthy")))


def test_one_waiter_at_a_time(play: Play) -> None:
    """Whatever happens, the next wait for a name begins after the one before has ended."""
    for path in (path for path in play.requests if path.endswith("/wait")):
        assert min(gaps(play.requests[path]), default=0.0) >= 0.0, path


def test_the_bridge_itself_is_never_the_failure(play: Play) -> None:
    """No worker of the bridge breaks on what an upstream does."""
    assert play.daemon.lines("worker.restarted") == []


def test_no_secret_in_what_it_says(play: Play) -> None:
    """Keys are in no log line and in no event of the bridge's own, though upstreams repeat them in their errors."""
    assert "bad key ***" in play.daemon.text
    for key in (BCTRL_KEY, ANCHOR_KEY):
        assert key not in play.daemon.text
        assert key not in str(play.events)
