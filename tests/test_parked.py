"""Parked records read again: what each kind of source makes of the bytes, and that none is lost or doubled by it."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from running_log import ids, running_log
from servers import RedisServer

from bridge.commands import RetryParked
from bridge.errors import Declined
from bridge.event import Event, Parked
from bridge.http_client import HttpClient
from bridge.normalize.any_event import Pointers
from bridge.parked import read_again, retry
from bridge.redis_log import Keys, ParkedRecords, Server, WholeRecord
from bridge.sources.account import Account
from bridge.sources.any_stream import NAMELESS, AnyStream
from bridge.sources.durable_wait import DurableWait
from bridge.sources.event_wait import EventWait
from bridge.sources.events_stream import EventsStream
from bridge.sources.run_events_stream import RunEventsStream
from bridge.sources.run_events_wait import RunEventsWait
from bridge.sources.run_stream import RunStream
from bridge.sources.subscription import Subscription

EVENT = b'{"id":"e1","runId":"r","type":"navigation","time":"2026-06-25T12:00:00Z"}'
STORED = "2026-11-22T00:00:00.123Z"
ENTRY = f"{int(datetime.fromisoformat(STORED).timestamp() * 1000)}-0"


def source_of(kind: str) -> Subscription:
    """A source of this kind that nobody runs."""
    account, url = Account("a", "https://api.example", {}, HttpClient()), "https://api.example/sse"
    made: dict[str, Callable[[], Subscription]] = {
        "run-events": lambda: RunEventsStream("s", account, run="r"),
        "run": lambda: RunStream("s", account, run="r", headers={}),
        "account": lambda: EventsStream("s", account, headers={}),
        "run-wait": lambda: RunEventsWait("s", account, run="r"),
        "operation": lambda: DurableWait("s", account, noun="operation", work="w"),
        "signal": lambda: EventWait("s", account, event="otp"),
        "sse": lambda: AnyStream("s", account, url=url, pointers=Pointers()),
        "pointed": lambda: AnyStream("s", account, url=url, pointers=Pointers(id="/id", type="/type")),
    }
    return made[kind]()


def record(raw: bytes, reason: str = "not JSON") -> WholeRecord:
    """A parked record with these bytes."""
    return WholeRecord(0, ENTRY, "s", reason, len(raw), "", raw)


@pytest.mark.parametrize(
    ("kind", "raw", "id_", "type_"),
    [
        ("run-events", EVENT, "e1", "ai.bctrl.navigation"),
        ("run-events", b'{"type":"runtime.event","event":' + EVENT + b"}", "e1", "ai.bctrl.navigation"),
        ("run", EVENT, "e1", "ai.bctrl.navigation"),
        ("account", EVENT, "e1", "ai.bctrl.navigation"),
        ("run-wait", b'{"event":' + EVENT + b',"cursor":"c","timedOut":false}', "e1", "ai.bctrl.navigation"),
        ("run-wait", EVENT, "e1", "ai.bctrl.navigation"),
        ("operation", b'{"operation":{"id":"w","status":"failed"}}', "w:failed", "ai.bctrl.operation.failed"),
        ("signal", b'{"data":{"code":"1"}}', f"parked-0-{ENTRY}", "io.anchorbrowser.event.signaled"),
        ("pointed", b'{"id":7,"type":"t"}', "7", "t"),
        ("pointed", b'{"type":"t"}', f"parked-0-{ENTRY}", "t"),
    ],
)
def test_what_can_be_read_now(kind: str, raw: bytes, id_: str, type_: str) -> None:
    """The bytes alone make the event that the source would have made; an id is made where only it could tell one."""
    event = read_again(source_of(kind), record(raw))
    assert isinstance(event, Event)
    assert (event.id, event.type) == (id_, type_)
    if kind == "signal":
        assert event.time == STORED


@pytest.mark.parametrize(
    ("kind", "raw", "parked_for", "reason"),
    [
        ("run-events", b"garbage", "not JSON", "not JSON"),
        ("run-events", b'{"type":"t"}', "no id", "no id"),
        ("run-events", EVENT, "oversized: 99 bytes", "only its beginning was kept"),
        ("run-wait", b'{"timedOut":true}', "not JSON", "it says nothing"),
        ("run-wait", b'{"a":1}', "not JSON", "no id"),
        ("signal", b'{"a":1}', "no signal", "no signal in the answer"),
        ("sse", b"some text", "oversized: 99 bytes", "only its beginning was kept"),
        ("sse", b'{"type":"t"}', "nested too deeply", NAMELESS),
    ],
)
def test_what_still_cannot(kind: str, raw: bytes, parked_for: str, reason: str) -> None:
    """It stays parked, with the reason of today; what was cut is never taken for something whole."""
    found = read_again(source_of(kind), record(raw, parked_for))
    assert isinstance(found, Parked)
    assert found.reason.startswith(reason)


@pytest.fixture
def log_server(shared_servers: dict[str, RedisServer]) -> RedisServer:
    """A shared Valkey."""
    return shared_servers["valkey"]


@asynccontextmanager
async def records_of(server: RedisServer, prefix: str) -> AsyncIterator[ParkedRecords]:
    """Closed at the end."""
    records = ParkedRecords(Server(server.url), [Keys(prefix, 0)])
    try:
        yield records
    finally:
        await records.close()


def park(server: RedisServer, prefix: str, raw: bytes) -> RetryParked:
    """Parks a record as the bridge does; the command that is about it."""
    fields = ("source", "s", "reason", "not JSON", "raw", raw, "cursor", "c")
    return RetryParked(str(server.call("XADD", Keys(prefix, 0).parked, "*", *fields)))


async def test_retry(log_server: RedisServer, prefix: str) -> None:
    """A record that can be read is in the log once, however often and wherever a try was cut off; then it is gone."""
    keys, source = Keys(prefix, 0), source_of("run-events")
    async with running_log(log_server.url, prefix) as running, records_of(log_server, prefix) as records:
        writer = await running.log.open("s", source.resource)
        readable, unreadable = park(log_server, prefix, EVENT), park(log_server, prefix, b"garbage")
        again = park(log_server, prefix, EVENT)  # as after a crash between the log and the end of a try
        done = await retry(records, readable, lambda _: (source, writer))
        assert (done.changed, done.state, done.detail["event"], done.detail["duplicate"]) == (
            True,
            "stored",
            "e1",
            False,
        )
        done = await retry(records, again, lambda _: (source, writer))
        assert (done.changed, done.detail["duplicate"]) == (True, True)
        done = await retry(records, unreadable, lambda _: (source, writer))
        assert (done.changed, done.state, done.detail["reason"]) == (False, "parked", "not JSON")
        with pytest.raises(Declined, match="no parked record"):
            await retry(records, readable, lambda _: (source, writer))
        with pytest.raises(Declined, match="does not run here"):
            await retry(records, unreadable, lambda _: None)
        assert [each.id async for page in records.pages(0) for each in page] == [unreadable.id]
    assert ids(log_server, keys) == ["e1"]
    (entry,) = log_server.call("XRANGE", keys.events, "-", "+")
    assert json.loads(entry[1]["event"])["sequence"] == f"{1:020d}"
    assert datetime.fromisoformat(json.loads(entry[1]["event"])["recordedtime"]).tzinfo == UTC


async def test_pages(log_server: RedisServer, prefix: str) -> None:
    """Records come in pages without their bytes, both ways; a page looks at no more bytes than its bound."""
    async with records_of(log_server, prefix) as records:
        made = [park(log_server, prefix, b"x" * number).id for number in range(4)]
        large = park(log_server, prefix, b"x" * (33 << 20)).id
        last = park(log_server, prefix, b"\xff").id
        pages = [[each.id for each in page] async for page in records.pages(0, most=3)]
        assert pages == [made[:3], [made[3], large], [last]]
        backwards = [each async for page in records.pages(0, backwards=True, most=3) for each in page]
        assert [each.id for each in backwards] == [last, large, *made[::-1]]
        assert (backwards[1].size, backwards[2].size, backwards[0].source) == (33 << 20, 3, "s")
        assert await records.count() == 6
        whole = await records.whole(0, last)
        assert whole is not None
        assert (whole.raw, whole.cursor, whole.name) == (b"\xff", "c", f"0-{last}")
        assert await records.drop(0, [*made, large, last, "1-1"]) == 6
        assert await records.whole(0, last) is None
        assert await records.whole(7, last) is None
