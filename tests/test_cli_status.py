"""`runbridge status`: what it says first, that it stays on one screen, and that it agrees with Redis' own counts."""

import asyncio
import fcntl
import gzip
import os
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from aiohttp import web
from command import Command
from daemon import Daemon, Log, package, stream_source
from dead import events_of
from delivering import destination
from following import V2
from receiver import Hook, Receiver
from servers import RedisServer, free_port
from typer.testing import CliRunner, Result
from upstream import HANG, Exchange, Part, Script, Upstream, frame, stream
from waiting import wait_blocking, wait_until

from bridge.cli import app
from bridge.cli.looks import LARGEST, Looks
from bridge.cli.status_lines import ROWS, SAID, block, concerns
from bridge.cli.table import Line
from bridge.overview import BridgeView, DestinationView, LogView, Overview, SourceView
from bridge.redis_log import Keys
from bridge.settings import load
from bridge.views import LEAST

TOKEN = "0123456789abcdef0123"
NOW = "2026-11-22T12:00:00.000Z"
WELL = BridgeView(instance="box", version="1.2.3", uptime_seconds=7300, ready=True)
EVENTS = 2500


def source(id_: str, state: str = "connected", reason: str = "") -> SourceView:
    """One source."""
    return SourceView(id=id_, kind="sse", state=state, reason=reason)


def overview(
    *sources: SourceView, bridge: BridgeView | None = WELL, destinations: list[DestinationView] | None = None,
    parked: int = 0,
) -> Overview:  # fmt: skip
    """A bridge that stands so."""
    log = [LogView(partition=at, entries=6, added=9, parked=parked, rate=500.0) for at in range(2)]
    return Overview(
        time=NOW, bridge=bridge, redis="redis://r:6379", log=log, sources=list(sources),
        destinations=destinations or [],
    )  # fmt: skip


def text(lines: list[Line]) -> list[str]:
    """The lines without their styles."""
    return ["".join(part for part, _ in line).rstrip() for line in lines]


def test_nothing_to_say_where_all_is_well() -> None:
    """Two lines about the bridge and the log, then the tables."""
    shown = block(overview(source("a")))
    assert text(shown.sentences) == [
        "runbridge 1.2.3 on box, up 2h: ready", "log of 2 partitions: 12 entries, 1,000/s, at redis://r:6379"
    ]  # fmt: skip
    assert [line.split() for line in text(shown.columns)] == [
        [], ["SOURCE", "STATE", "RATE/s", "LAG", "LAST", "WHY"], ["a", "connected", "0", "-", "-"], [],
        ["no", "destinations"],
    ]  # fmt: skip


def test_what_needs_attention_comes_first_in_words() -> None:
    """What is wrong, then what can wait, each once; those of it lead the tables."""
    crm = DestinationView(
        id="crm", kind="webhook", state="disabled", reason="answered 410", since_seconds=90000, waiting=3,
        oldest_seconds=7200, dead=2,
    )  # fmt: skip
    bridge = BridgeView(instance="box", version="1", problems={"redis": "OOM", "source b": "answered 404\x1b"})
    found = overview(
        source("a"), source("b", "failed", "answered 404\x1b[2J"), bridge=bridge, destinations=[crm], parked=1
    )  # fmt: skip
    shown = block(found)
    assert text(shown.sentences)[0].endswith("not ready")
    assert text(shown.sentences)[3:] == [
        "! redis: OOM",
        "! source b: failed, answered 404 [2J",
        "! destination crm: disabled for 1d, answered 410, 3 subjects waiting, the oldest event is 2h old",
        "  destination crm: 2 dead letters; `runbridge dead list` shows them",
        "  log: 2 parked records; `runbridge parked list` shows them",
    ]
    assert [line.split()[0] for line in text(shown.columns) if line][:3] == ["SOURCE", "b", "a"]
    assert [concern.wrong for concern in concerns(found)] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ({"waiting": 3, "waiting_entries": 306, "oldest_seconds": 60.0},
         "active, 3 subjects waiting (306 events), the oldest event is 1m old"),
        ({"waiting": 1, "oldest_seconds": 2.0, "reason": "answered 503"},
         "active, answered 503, 1 subject waiting, the oldest event is 2s old"),
        ({"waiting": 1, "oldest_seconds": 59.0}, ""),
        ({"oldest_seconds": 90.0}, ""),
    ],
)  # fmt: skip
def test_an_active_destination_whose_events_wait_needs_attention(view: dict[str, Any], said: str) -> None:
    """A minute, or for a reason: it leads its table, and nobody reads "ready" alone above it."""
    well, crm = (
        DestinationView(id=id_, kind="webhook", state="active", **keys) for id_, keys in (("a", {}), ("crm", view))
    )
    shown = block(overview(destinations=[well, crm]))
    head, _, *sentences = text(shown.sentences)
    assert sentences[1:] == ([f"! destination crm: {said}"] if said else [])
    assert head.endswith(": ready, but 1 thing needs attention" if said else ": ready")
    rows = [line.split() for line in text(shown.columns)[-2:]]
    assert [row[0] for row in rows] == (["crm", "a"] if said else ["a", "crm"])
    assert ("(306)" in rows[0]) is ("waiting_entries" in view)


def test_a_refused_reload_needs_attention() -> None:
    """On one line, though the bridge is ready."""
    bridge = BridgeView(instance="box", ready=True, problems={"configuration": "the last reload was refused:\n a: b"})
    found = text(block(overview(bridge=bridge)).sentences)
    assert found[-1] == "! configuration: the last reload was refused:  a: b"
    assert found[0].endswith("ready, but 1 thing needs attention")


def test_hundreds_of_sources_stay_on_one_screen() -> None:
    """So many rows and sentences, and how many more there are; as many rows as a terminal has lines."""
    many = [source(f"s{number}") for number in range(1960)]
    assert text(block(overview(*many)).columns)[-3] == "... and 1,940 more, all connected"
    bad = [source(f"f{number}", "failed") for number in range(40)]
    shown = block(overview(*many, *bad))
    assert len(shown.columns) == ROWS + 5
    assert len(shown.sentences) == 3 + SAID + 1
    assert text(shown.sentences)[-1] == "  ... and 32 more, 32 of them not in order"
    assert text(shown.columns)[-3] == "... and 1,980 more, 1,960 connected, 20 failed"
    for height in (24, 50):
        low = block(overview(*many, *bad), height=height)
        assert len(low.sentences) + len(low.columns) <= height


def test_ids_leave_room_for_the_numbers() -> None:
    """On 80 columns a long id is cut, so that the count of dead letters is seen; elsewhere it is whole."""
    name = "a-destination-with-a-long-name"
    found = overview(destinations=[DestinationView(id=name, kind="webhook", state="disabled", dead=12345)])
    row = text(block(found, width=80).columns)[-1]
    assert (row.split()[0], row[:80].endswith("12,345")) == ("a-destination-wit…", True), row
    assert text(block(found).columns)[-1].startswith(name)
    crm = DestinationView(id=name, kind="webhook", state="active", waiting=8000, waiting_entries=90_000, dead=12345)
    found = overview(destinations=[crm])
    assert text(block(found, width=80).columns)[-1][:80].endswith("12,345")


def run(path: Path, *arguments: str) -> Result:
    """`runbridge status` in this process; an exception of ours would be a stack trace."""
    found = CliRunner().invoke(app, ["status", *arguments, "--config", str(path)])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


@pytest.fixture
def path(shared_servers: dict[str, RedisServer], log: Log, tmp_path: Path) -> Path:
    """A configuration with a destination, whose bridge does not run; add `[http]`."""
    found = tmp_path / "bridge.toml"
    webhook = destination("crm", "http://127.0.0.1:1/")
    found.write_text(f'[redis]\nurl = "{log.server.url}"\n[log]\nprefix = "{log.prefix}"\n{webhook}')
    return found


@pytest.mark.parametrize(
    ("listen", "code", "said"),
    [("127.0.0.1:1", 1, "no bridge answers at 127.0.0.1:1 (connection refused)"), ("", 0, "http.listen is off")],
)
def test_without_a_bridge_it_shows_what_redis_has(path: Path, listen: str, code: int, said: str) -> None:
    """And says so; not in order where one should answer. Nothing of it is coloured."""
    path.write_text(path.read_text() + f'[http]\nlisten = "{listen}"\n')
    found = run(path, "--check")
    assert (found.exit_code, said in found.stdout, "\x1b" in found.stdout) == (code, True, False), found.output
    assert "crm" in found.stdout
    shown = msgspec.json.decode(run(path, "--json").stdout, type=Overview)
    assert (shown.bridge, [view.id for view in shown.destinations]) == (None, ["crm"])


def test_rates_are_known_at_the_first_call(path: Path, log: Log) -> None:
    """Where events come, it looks twice; where none do, once, and at once."""
    path.write_text(path.read_text() + '[http]\nlisten = ""\n')
    keys, over = Keys(log.prefix, 0), threading.Event()

    def add() -> None:
        while not over.is_set():
            log.server.call("XADD", keys.events, "*", "id", "e")

    begun = time.monotonic()
    assert msgspec.json.decode(run(path, "--json").stdout, type=Overview).log[0].rate == 0
    assert time.monotonic() - begun < LEAST
    adding = threading.Thread(target=add)
    adding.start()
    try:
        wait_blocking(log.length, "an event is there")
        assert msgspec.json.decode(run(path, "--json").stdout, type=Overview).log[0].rate > 10
    finally:
        over.set()
        adding.join()


def test_redis_away(tmp_path: Path) -> None:
    """69, one sentence, no secret."""
    path = tmp_path / "bridge.toml"
    webhook = destination("crm", "http://127.0.0.1:1/")
    path.write_text(f'[redis]\nurl = "redis://:hush@127.0.0.1:1"\n[http]\nlisten = ""\n{webhook}')
    found = run(path)
    assert (found.exit_code, found.stderr.count("\n"), "hush" in found.output) == (69, 1, False), found.output


def said(code: int, body: bytes = b"") -> Callable[[Hook], Awaitable[web.StreamResponse]]:
    """An answer, made anew for each request."""

    async def answer(hook: Hook) -> web.StreamResponse:
        return web.Response(status=code, body=body, headers={"Location": "/"})

    return answer


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (said(401), "answers 401: http.token is another one there"),
        (said(200, b"hello"), "is no bridge of this release"),
        (said(200, msgspec.json.encode(overview())), "is another one, with its log at redis://r:6379"),
        (said(302), "answers 302"),
    ],
)
async def test_what_is_not_this_bridge_is_not_believed(
    path: Path, answer: Callable[[Hook], Awaitable[web.StreamResponse]], why: str
) -> None:  # fmt: skip
    """Another program, or another bridge, on its address: that is said, and what Redis has is shown."""
    async with Receiver(answer) as receiver:
        environment = {"BRIDGE_HTTP__LISTEN": urlsplit(receiver.url).netloc, "BRIDGE_HTTP__TOKEN": TOKEN}
        async with Looks(load(path, environment)) as looks:
            found = await looks.look()
    assert why in found.unanswered
    assert found.overview.bridge is None
    assert [hook.headers["authorization"] for hook in receiver.hooks] == [f"Bearer {TOKEN}"]


async def test_a_large_answer_is_read_to_its_end(path: Path) -> None:
    """In as many parts as it comes, as of a bridge with thousands of sources; one without end is not."""
    settings = load(path, {})
    large = msgspec.structs.replace(overview(*(source(f"s{at}") for at in range(2000))), redis=settings.redis.address)

    async def parts(hook: Hook) -> web.StreamResponse:
        response, body = web.StreamResponse(), msgspec.json.encode(large)
        await response.prepare(hook.request)
        for at in range(0, len(body), 10_000):
            await response.write(body[at : at + 10_000])
        return response

    async def endless(hook: Hook) -> web.StreamResponse:
        return web.Response(body=gzip.compress(bytes(LARGEST + 1)), headers={"Content-Encoding": "gzip"})

    async with Receiver(parts) as receiver:
        environment = {"BRIDGE_HTTP__LISTEN": urlsplit(receiver.url).netloc}
        async with Looks(load(path, environment)) as looks:
            found = await looks.look()
            assert (found.unanswered, found.overview) == ("", large)
            receiver.answer = endless
            assert "answers with more than 64 MiB" in (await looks.look()).unanswered


@pytest.mark.parametrize("ending", ["q", "Ctrl-C"])
def test_it_is_drawn_over_and_over_on_a_terminal(path: Path, ending: str) -> None:
    """Within its lines and columns, until q or Ctrl-C; the terminal is as before then. NO_COLOR is heard."""
    path.write_text(path.read_text() + '[http]\nlisten = "127.0.0.1:1"\n')
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"\x18\x00\x50\x00\x00\x00\x00\x00")  # 24 lines of 80 columns
    before = termios.tcgetattr(theirs)
    hidden = {"FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS", "LINES"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    quiet = {"NO_COLOR": "1"} if ending == "q" else {}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "bridge", "status", "--watch", "-c", str(path)],
        env={**environment, "PYTHONPATH": str(package()), "TERM": "xterm", **quiet},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # as a terminal starts its shell
    )  # fmt: skip
    try:
        text = b""
        while text.count(b"DESTINATION") < (2 if ending == "q" else 1):  # so often it was drawn
            text += os.read(ours, 65536)
        os.write(ours, b"q" if ending == "q" else b"\x03")
        while b"\x1b[?1049l" not in text:  # the screen of before is back
            text += os.read(ours, 65536)
        wait_blocking(lambda: process.poll() is not None, "the end of status", 30)
        assert process.returncode == 0
        assert termios.tcgetattr(theirs) == before
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
    assert (b"\x1b[1;31m" in text or b"\x1b[31m" in text) is (ending == "Ctrl-C")
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode().replace("\x1b[H", "\n")).splitlines()
    assert max(map(len, lines)) <= 80


def thousand(total: int, begin: asyncio.Event) -> Script:
    """A run of so many events, a thousand a second, once it may begin."""

    async def script(exchange: Exchange) -> None:
        cursor = exchange.request.cursor[0]
        first = int(cursor.removeprefix("e")) + 1 if cursor else 0
        parts: list[Part] = [begin]
        for at in range(first, total, 25):
            parts += [b"".join(frame(f"e{number}") for number in range(at, min(at + 25, total))), 0.025]
        await stream(*parts, then=HANG)(exchange)

    return script


async def sampled(log: Log, samples: list[tuple[float, int]]) -> None:
    """How many entries the log had when, again and again."""
    while True:
        samples.append((time.time(), log.length()))
        await asyncio.sleep(0.02)


async def test_it_agrees_with_redis_while_a_thousand_events_a_second_flow(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log, tmp_path: Path
) -> None:
    """What it says is what Redis had a second ago at most, and to the event what Redis has once all is there.

    Three seconds of it, and the end.
    """
    upstream.on(V2, thousand(EVENTS, begin := asyncio.Event()))
    samples: list[tuple[float, int]] = []
    listen = f"127.0.0.1:{free_port()}"
    async with Receiver() as receiver:
        there = destination("crm", receiver.url, format="batched")
        async with daemon(stream_source(), there, BRIDGE_HTTP__LISTEN=listen) as bridge:
            await upstream.asked(V2)
            sampling = asyncio.ensure_future(sampled(log, samples))
            async with Command(
                tmp_path, "status", "--watch", "--json", "-c", str(bridge.config), BRIDGE_HTTP__LISTEN=listen
            ) as told:
                await wait_until(lambda: told.lines, "a look before it begins", 20.0)
                begin.set()
                await wait_until(lambda: settled(told), "a look at the end", 20.0)
                told.signal(signal.SIGINT)
                assert await told.end() == 0
            sampling.cancel()
            last = msgspec.json.decode(told.lines[-1], type=Overview)
    shown = [msgspec.json.decode(line, type=Overview) for line in told.lines]
    flowing = [one for one in shown if 0 < one.log[0].entries < EVENTS]
    assert len(flowing) >= 2
    assert len({one.time for one in shown}) == len(shown), "each is a look of its own"
    for one in flowing:
        at = datetime.fromisoformat(one.time).timestamp()
        before = max((count for when, count in samples if when <= at - 1.2), default=0)
        after = samples[min(bisect_left(samples, (at,)), len(samples) - 1)][1]
        assert before <= one.log[0].entries <= after, (before, one, after)
        assert one.sources[0].sequence <= one.log[0].added
        assert (one.sources[0].state, one.bridge is not None) == ("connected", True)
    assert max(one.log[0].rate for one in shown) > 300
    (group,) = log.server.client().xinfo_groups(f"{log.prefix}:{{0}}:events")
    redis = (log.length(), int(log.source()["sequence"]), group["lag"], group["pending"])
    view = last.destinations[0]
    assert (
        (last.log[0].entries, last.sources[0].sequence, view.behind, view.in_flight) == redis == (EVENTS, EVENTS, 0, 0)
    )
    assert last.sources[0].events == EVENTS == sum(len(events_of(hook.body)) for hook in receiver.hooks)


def settled(told: Command) -> bool:
    """Whether the last look has every event stored and delivered."""
    if not told.lines:
        return False
    last = msgspec.json.decode(told.lines[-1], type=Overview)
    view = last.destinations[0]
    return (last.sources[0].sequence, view.behind, view.in_flight) == (EVENTS, 0, 0)
