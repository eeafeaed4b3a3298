"""What steering costs, and whether what is shown is so: adding sources, reloading, being looked at, and doing nothing.

Asks the daemon as a program beside it would: over HTTP, with the command line, and by SIGHUP. Adding is measured
against the daemon's own emulator, the rest against `benchmarks.upstream`.
"""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from benchmarks.daemon import STREAM, configuration, daemon, webhook
from benchmarks.latency import paced
from benchmarks.marks import Spread, Tally, since_sent, spread, tally
from benchmarks.processes import KEY, ROOT, Child, Valkey, free_port, python, wait_for
from benchmarks.receipts import Hooks

RUNS = 10
"""Sources among which a rate is shared: the events of one run are sent one after another."""
RELOADS = 10
TURNED = {"\nrun = ": '\nidle_timeout = "61s"\nrun = ', "\nsecrets = ": "\nmax_in_flight = 31\nsecrets = "}
"""What every other reload writes into each source and destination: both have to start anew."""
SETTLE = 5.0
"""Seconds before an idle daemon is looked at."""
SCRAPES = 15.0
"""Seconds between scrapes."""


def ask(port: int, path: str, body: object = None) -> bytes:
    """The body of an answer below 300; a connection of its own, as a new program's first request."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        method, sent = ("GET", None) if body is None else ("POST", json.dumps(body))
        connection.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
        answer = connection.getresponse()
        said = answer.read()
    if answer.status >= 300:
        raise SystemExit(f"benchmarks: {path} answers {answer.status}: {said[:300]!r}")
    return said


@dataclass(frozen=True)
class Adding:
    """Milliseconds from sending `POST /v1/sources` to its answer, and to a reader's having the source's first event."""

    answer: Spread
    event: Spread


def adding(directory: Path, *, times: int) -> Adding:
    """One source after another, each of a run that has an event from its beginning."""
    port, answers, events = free_port(), [], []
    options = ("--port", "0", "--any-run", "--rate", "0", "--events", "1", "--stays-open")
    with python("bridge", "emulator", *options, directory=directory) as emulator, Valkey(directory) as server:
        upstream = emulator.line().split()[-1]
        with daemon(directory, upstream, server, "first", port=port) as child:
            wait_for(lambda: server.length == 1, f"the first event; see {child.log}")
            for at in range(times):
                last, begun = server.client.xinfo_stream(KEY)["last-generated-id"], time.monotonic()
                ask(port, "/v1/sources", {"id": f"a-{at}", "account": "upstream", "kind": STREAM, "run": f"a-{at}"})
                answers.append((time.monotonic() - begun) * 1000)
                found: Any = server.client.xread({KEY: last}, block=10_000)
                events.append((time.monotonic() - begun) * 1000)
                if not found or found[0][1][0][1]["subject"] != f"a-{at}":
                    raise SystemExit(f"benchmarks: not the first event of a-{at} but {found}; see {child.log}")
    return Adding(spread(answers), spread(events))


@dataclass(frozen=True)
class Reloads:
    """Milliseconds from SIGHUP to "reloaded"; what became of the events; from the upstream's write to the receipt."""

    took: Spread
    log: Tally
    webhooks: Tally
    delay: Spread


def reloads(upstream: str, directory: Path, *, rate: int, every: float) -> Reloads:
    """So many a second through sources and a webhook that all start anew with each reload, one `every` seconds."""
    each = int(rate * every * (RELOADS + 2)) // RUNS
    names, took = [f"steady-{each}-{rate // RUNS}-{time.monotonic_ns()}-{at}" for at in range(RUNS)], []
    with Valkey(directory) as server, Hooks(directory) as hooks:
        table = {"receiver": webhook(hooks.url)}
        with daemon(directory, upstream, server, *names, destinations=table) as child:
            wait_for(lambda: hooks.count() > 0, f"the first webhook; see {child.log}")
            file = configuration(directory, server)
            plain = turned = file.read_text()
            for before, after in TURNED.items():
                turned = turned.replace(before, after)
            for number in range(1, RELOADS + 1):
                time.sleep(every)
                file.write_text(turned if number % 2 else plain)
                begun = time.monotonic()
                child.reload()
                wait_for(lambda: _reloaded(child) == number, f"reload {number}; see {child.log}", look=0.002)
                took.append((time.monotonic() - begun) * 1000)
            wait_for(lambda: hooks.count() >= each * RUNS, f"{each * RUNS} webhooks; see {child.log}", look=0.1)
            wait_for(lambda: server.client.xinfo_groups(KEY)[0]["pending"] == 0, f"all settled; see {child.log}")
        receipts = hooks.receipts()
        log = Counter((fields["subject"], fields["id"]) for _, fields in server.client.xrange(KEY))
    stored = Tally(log.total(), each * RUNS - len(log), log.total() - len(log), 0)
    return Reloads(spread(took), stored, tally(receipts, each * RUNS), spread(since_sent(receipts)))


def _reloaded(child: Child) -> int:
    """How often everything was started anew."""
    lines = [line for line in child.log.read_text().splitlines() if '"configuration.reloaded"' in line]
    return sum(line.count('"sources.') == RUNS and '"destinations.receiver"' in line for line in lines)


def idle(
    upstream: str, directory: Path, *, sources: int, seconds: float, follow: bool = False, scrape: bool = False
) -> float:
    """The share of one core of a daemon whose sources say nothing; somebody may follow its page, or scrape it."""
    port, over = free_port(), threading.Event()
    with ExitStack() as stack:
        server = stack.enter_context(Valkey(directory))
        runs = [f"idle-{at}" for at in range(sources)]
        child = stack.enter_context(daemon(directory, upstream, server, *runs, port=port))
        wait_for(lambda: child.log.read_text().count("source.connected") >= sources, f"{sources} sources")
        if follow:
            threading.Thread(target=_follow, args=(port,), daemon=True).start()
        if scrape:
            threading.Thread(target=_scrape, args=(port, over), daemon=True).start()
        time.sleep(SETTLE)
        before = child.usage().cpu
        time.sleep(seconds)
        used = child.usage().cpu - before
        over.set()
    return used / seconds


def _follow(port: int) -> None:
    """Read what the page reads, until the daemon ends."""
    with suppress(OSError, HTTPException), closing(HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", "/v1/live")
        for _ in connection.getresponse():
            pass


def _scrape(port: int, over: threading.Event) -> None:
    while not over.wait(SCRAPES):
        ask(port, "/metrics")


@dataclass(frozen=True)
class Shown:
    """How far what was shown was behind Redis' own count when the answer was there, and how long the answer took, in ms.

    `wrong` counts answers with more than Redis had then, or, by more than a look's age, less than it had before.
    """

    behind_ms: Spread
    answer_ms: Spread
    wrong: int


def shown(upstream: str, directory: Path, *, rate: int, seconds: int) -> dict[str, Shown]:
    """`/v1/status` and `runbridge status --json` while so many events a second flow to a webhook, in turn."""
    port, names = free_port(), paced(rate, seconds, RUNS)
    found: dict[str, list[tuple[float, float, bool]]] = {"/v1/status": [], "runbridge status --json": []}
    with Valkey(directory) as server, Hooks(directory) as hooks:
        table = {"receiver": webhook(hooks.url)}
        with daemon(directory, upstream, server, *names, destinations=table, port=port) as child:
            wait_for(lambda: server.length >= rate, f"the first events; see {child.log}")
            command = (sys.executable, "-m", "bridge", "status", "--json", "-c", str(configuration(directory, server)))
            ways: tuple[Callable[[], bytes], ...] = (
                lambda: ask(port, "/v1/status"),
                lambda: subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout,
            )
            until = time.monotonic() + seconds - 3
            while time.monotonic() < until:
                for at, (name, way) in enumerate(zip(found, ways, strict=True)):
                    for _ in range(1 if at else 7):
                        found[name].append(_compare(way, server, rate))
                        time.sleep(0.13)
    return {
        name: Shown(spread([each[0] for each in all_]), spread([each[1] for each in all_]), sum(each[2] for each in all_))
        for name, all_ in found.items()
    }  # fmt: skip


def _compare(way: Callable[[], bytes], server: Valkey, rate: int) -> tuple[float, float, bool]:
    first, begun = server.client.xinfo_stream(KEY)["entries-added"], time.monotonic()
    said = json.loads(way())
    took = (time.monotonic() - begun) * 1000
    now = server.client.xinfo_stream(KEY)["entries-added"]
    added, sources = said["log"][0]["added"], sum(source["sequence"] for source in said["sources"])
    wrong = added > now or added < first - 1.5 * rate or added != sources
    return (now - added) / rate * 1000, took, wrong
