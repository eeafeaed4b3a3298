"""What a scrape says: by Prometheus' conventions, about what is configured now, and in bounded time without Redis."""

import asyncio
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import virtual_time
from delivering import Stage, destination
from receiver import Receiver
from scraping import PROMTOOL, everything, samples, scraped, value
from servers import RedisServer
from waiting import wait_until

from bridge import facts
from bridge.delivery.health import Standing
from bridge.errors import LogUnavailable
from bridge.facts import Fact
from bridge.live import Live
from bridge.metrics import Metrics
from bridge.overview import BridgeView, DestinationView, LogView, Overview, SourceView

FACTS = (
    facts.SourceConnected("s", "c"),
    facts.BatchStored("s", 5, 2, 3, 0.002, 900, 0.25),
    facts.BatchStored("s", 1, 0, 0, 0.2, 100, 0.5),
    facts.SourceInterrupted("s", "gone", 0.0, progress=True),
    facts.SourceGap("s", "c", "410", "earliest"),
    facts.LossPossible("s", "504"),
    facts.AttemptMade("d", "e", 1, "failed", 500, 0.1, "answered 500"),
    facts.AttemptMade("d", "e", 2, "delivered", 200, 0.003, ""),
    facts.DeadLettered("d", "e", 2, "answered 500"),
    facts.EntriesMissing("d", 4),
    facts.FanOutWritten("d", 7),
    facts.DestinationChanged("d", "probing", "answered 503", 503, 10, 8),
    facts.LogTrimmed(10, 6),
    facts.ConfigurationReloaded([]),
    facts.ReloadRefused([]),
    facts.ReloadRefused([]),
    facts.WorkerRestarted("trim", ValueError("no"), 1.0),
    facts.SpoolFailed("s", "full"),
    facts.SignalUnsaved("s", 2),
)


def seen(
    sources: dict[str, str] | None = None, destinations: dict[str, str] | None = None, **queue: Any
) -> Overview:  # fmt: skip
    """An overview with these states."""
    return Overview(
        time="now", bridge=None, redis="redis://there", log=[LogView(partition=0, entries=7, added=9, parked=2)],
        sources=[SourceView(id=id_, kind="sse", state=state) for id_, state in (sources or {"s": "connected"}).items()],
        destinations=[
            DestinationView(id=id_, kind="gone" if id_ == "gone" else "webhook", state=state, **queue)
            for id_, state in (destinations or {"d": "active"}).items()
        ],
    )  # fmt: skip


async def text(overview: Overview | None, *heard: Fact, blocked: str | None = None) -> str:
    """A scrape after these facts; without an overview Redis is away."""

    async def ask() -> Overview:
        if overview is None:
            raise LogUnavailable("CONNECTION", "refused")
        return overview

    live = Live()
    for fact in heard:
        live(fact)
    view = BridgeView(instance="one", version="1.2", ready=blocked is None)
    return (await Metrics(live, overview=ask, bridge=lambda: view, blocked=lambda: blocked)()).decode()


async def test_what_was_counted_is_said() -> None:
    """Each count and figure of the process under its name, by source or destination."""
    said = await text(seen(), *FACTS)
    source, destination = {"source": "s"}, {"destination": "d"}
    expected: list[tuple[str, dict[str, str], float]] = [
        ("events_total", source, 6), ("stored_bytes_total", source, 1000), ("parked_total", source, 2),
        ("duplicates_total", source, 3), ("source_interruptions_total", source, 1), ("source_gaps_total", source, 1),
        ("possible_losses_total", source, 1), ("source_lag_seconds", source, 0.5),
        ("source_append_seconds_count", source, 2), ("source_append_seconds_sum", source, 0.202),
        ("append_seconds_count", {}, 2), ("append_seconds_bucket", {"le": "0.0025"}, 1),
        ("webhook_attempts_total", destination | {"outcome": "failed"}, 1),
        ("webhook_attempts_total", destination | {"outcome": "delivered"}, 1),
        ("webhook_attempt_seconds_count", destination, 2),
        ("webhook_attempt_seconds_bucket", destination | {"le": "0.01"}, 1),
        ("webhook_attempt_seconds_bucket", destination | {"le": "+Inf"}, 2),
        ("webhook_dead_letters_total", destination, 1), ("entries_missing_total", destination, 4),
        ("fan_out_events_total", destination, 7),
        ("destination_changes_total", destination | {"what": "probing"}, 1),
        ("trimmed_total", {}, 10), ("trimmed_unsettled_total", {}, 6), ("worker_restarts_total", {}, 1),
        ("reloads_total", {"outcome": "done"}, 1), ("reloads_total", {"outcome": "refused"}, 2),
        ("spool_failures_total", {}, 1), ("signals_unsaved_total", {}, 2),
        ("info", {"version": "1.2", "bridge": "one"}, 1), ("ready", {}, 1),
    ]  # fmt: skip
    assert [(name, labels, value(said, name, **labels)) for name, labels, _ in expected] == expected


async def test_what_redis_has_is_said() -> None:
    """Queues, log and states are those of the overview; what waits for nothing is 0 s old."""
    said = await text(seen(behind=4, in_flight=3, waiting=2, oldest_seconds=9.5, dead=1))
    figures = ("behind_entries", "in_flight_entries", "waiting_lanes", "queue_age_seconds", "dead_letters", "state")
    assert [value(said, f"destination_{name}", destination="d") for name in figures] == [4, 3, 2, 9.5, 1, 0]
    log = ("log_entries", "log_added_entries_total", "log_parked_records")
    assert [value(said, name, partition="0") for name in log] == [7, 9, 2]
    assert (value(said, "redis_up"), value(said, "log_blocked", code="")) == (1, 0)
    idle = await text(seen(behind=None))
    assert value(idle, "destination_behind_entries", destination="d") is None
    assert value(idle, "destination_queue_age_seconds", destination="d") == 0


async def test_a_source_is_in_one_state() -> None:
    """A series a state, as OpenMetrics' state sets: 1 for the one that it is in."""
    states = ("connecting", "connected", "reconnecting", "failed", "ended", "fenced", "paused", "unusable")
    said = await text(seen({state: state for state in states}))
    found = samples(said)["runbridge_source_state"]
    assert found == {
        (("source", id_), ("state", state)): float(id_ == state) for id_ in states for state in states
    }  # fmt: skip


async def test_the_state_of_a_destination_is_a_number() -> None:
    """0 and more by the table in the documents; one that nobody knows has none, and spoils nothing."""
    states = ("active", "probing", "disabled", "paused", "fenced", "unusable")
    said = await text(seen(destinations={state: state for state in (*states, "odd")}))
    assert [value(said, "destination_state", destination=state) for state in (*states, "odd")] == [*range(6), None]


async def test_labels_are_bounded_by_what_there_is() -> None:
    """What is configured no more vanishes with all its series; of one that is gone only what the log has is said."""
    said = await text(seen({"t": "paused"}, {"gone": "active"}), *FACTS)
    labels = {label for of in samples(said).values() for labels in of for label in labels}
    assert ("source", "s") not in labels
    assert ("destination", "d") not in labels
    of_gone = {name for name, of in samples(said).items() if any(("destination", "gone") in each for each in of)}
    assert {name.removeprefix("runbridge_destination_") for name in of_gone} == {
        "state", "behind_entries", "in_flight_entries", "waiting_lanes", "waiting_entries", "queue_age_seconds",
        "dead_letters",
    }  # fmt: skip
    assert value(said, "events_total", source="t") == 0


async def test_without_redis_the_process_is_said() -> None:
    """What only Redis knows is left out, that it is away is said with its word, and nothing else is missing."""
    away, there = await text(None, *FACTS, blocked="CONNECTION"), await text(seen(), *FACTS)
    assert (value(away, "redis_up"), value(away, "log_blocked", code="CONNECTION"), value(away, "ready")) == (0, 1, 0)
    assert value(away, "source_state", source="s", state="connected") == 1
    assert {name.removeprefix("runbridge_") for name in samples(there).keys() - samples(away).keys()} == {
        "destination_state", "destination_behind_entries", "destination_in_flight_entries",
        "destination_waiting_lanes", "destination_waiting_entries", "destination_queue_age_seconds",
        "destination_dead_letters", "log_entries",
        "log_added_entries_total", "log_parked_records",
    }  # fmt: skip


def test_a_scrape_ends_in_time() -> None:
    """A Redis that says nothing holds a scrape up for less than 5 s."""

    async def never() -> Overview:
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> tuple[bytes, float]:
        said = await Metrics(Live(), overview=never, bridge=BridgeView, blocked=lambda: None)()
        return said, asyncio.get_running_loop().time()

    said, seconds = virtual_time.run(main())
    assert value(said.decode(), "redis_up") == 0
    assert 1 < seconds < 5


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared server."""
    return Stage(shared_servers["valkey"], prefix)


async def test_a_disabled_destination_is_known_after_a_restart(stage: Stage) -> None:
    """Its state is what the log has, from the first scrape on, though nothing has changed since the start."""
    stage.server.call(
        "HSET", stage.keys.destination("crm"), "standing", Standing("disabled", 1.0, 1.0, 3, "410").encode()
    )  # fmt: skip
    async with Receiver() as receiver, scraped(destination("crm", receiver.url), stage=stage) as scrape:

        async def state() -> float | None:
            return value(await scrape(), "destination_state", destination="crm")

        assert await wait_until(state, "the state is said") == 2.0


async def test_a_bridge_whose_redis_dies_is_scraped(
    start_server: Callable[..., RedisServer], prefix: str
) -> None:  # fmt: skip
    """Over HTTP, with a real server that is killed and comes back."""
    server = start_server("valkey")
    async with scraped(destination("crm", "http://127.0.0.1:1/"), stage=Stage(server, prefix)) as scrape:

        async def up(expected: float) -> bool:
            text = await scrape()
            return value(text, "redis_up") == expected and value(text, "ready") == expected

        await wait_until(lambda: up(1), "it is up")
        server.kill()
        await wait_until(lambda: up(0), "it is said to be away")
        server.start()
        await wait_until(lambda: up(1), "it is back")


async def test_a_real_scrape_is_as_prometheus_likes_it(stage: Stage) -> None:
    """Each metric has help and type, base units in its name, `_total` if it counts; promtool agrees where it is."""
    said = await everything(stage.server, stage.prefix)
    for family in samples(said):
        assert not family.endswith(("_ms", "_milliseconds", "_kb"))
    own = [line.split()[2:4] for line in said.splitlines() if line.startswith("# TYPE runbridge_")]
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in own)
    helps = {line.split()[2] for line in said.splitlines() if line.startswith("# HELP") and len(line.split()) > 3}
    assert helps >= {name for name, _ in own}
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "python_info"):
        assert name in samples(said)
    if PROMTOOL:
        judged = subprocess.run([PROMTOOL, "check", "metrics"], input=said, capture_output=True, text=True, check=False)
        assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")
