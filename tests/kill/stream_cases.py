"""Cases A to D: run event streams into the log, while the bridge, Redis, the wire or an owner fails.

Each returns its findings; what it can't even get to is an AssertionError that says so.
"""

import asyncio
import signal
from itertools import pairwise
from pathlib import Path

from daemon import Daemon
from waiting import wait_until

from kill.findings import Findings
from kill.stage import Stage, streams
from kill.upstream import Run, Upstream
from kill.wire import Mishap, Wire

RUNS = 3
RATE = 1000.0
"""Events a second of each run."""
FORGOTTEN = 1000
"""Entries that a Redis put back to an older copy has forgotten, at least: about a third of a second's."""
MISHAPS = (Mishap.LOST, Mishap.HALF, Mishap.LATE, Mishap.LOST, Mishap.PARTIAL)


def _upstream(stage: Stage, *, replay: int = 20) -> Upstream:
    runs = [Run(f"run-{number}", RATE) for number in range(RUNS)]
    return Upstream(stage.random, runs, cut_every=int(RATE / 2), replay=replay)


async def killed_bridge(stage: Stage, kills: int) -> Findings:
    """A: the bridge is killed at random moments, one in five of them before it has stored anything."""
    found = Findings(kills=kills)
    async with _upstream(stage) as upstream:
        daemon = stage.daemon(streams(stage.redis.url, upstream)).start()
        upstream.begin()
        for number in range(kills):
            if number % 5 != 3:
                await stage.grown()
            await stage.moment(0.5)
            daemon.kill()
            daemon.start()
        await stage.grown()
        upstream.finish()
        await stage.ended(list(upstream.runs), found)
        stage.compare(upstream, found)
    return found


async def killed_redis(stage: Stage, kills: int) -> Findings:
    """B: Redis is killed, and put back to an older copy of its files: once in the middle, once after the end."""
    found = Findings(kills=kills + 2)
    copy, copied = stage.directory / "copy", 0
    async with _upstream(stage) as upstream:
        daemon = stage.daemon(streams(stage.redis.url, upstream)).start()
        upstream.begin()
        await stage.grown()
        pid = daemon.pid
        for number in range(kills):
            await stage.grown()
            await stage.moment(0.8)
            await _restart(stage)
            if number == 0:
                await stage.grown()
                await stage.moment(0.3)
                copied = stage.length()
                await asyncio.to_thread(stage.redis.save_files, copy)
        await stage.grown(FORGOTTEN)
        length = stage.length()
        found.notes.append(f"put back to an older copy, which knows {copied} of {length} entries")
        await _restart(stage, copy)
        await stage.grown()
        await stage.moment(0.5)
        upstream.finish()
        await wait_until(lambda: _ended(stage, upstream), "all sources have ended", 30.0)
        stage.compare(upstream, found)
        await _restart(stage, copy)
        again = Findings()
        await stage.ended(list(upstream.runs), again)
        stage.compare(upstream, again)
        found.check(again.good, f"put back after the end: {again}")
        found.check(daemon.pid == pid, "the bridge did not live on")
    return found


def _ended(stage: Stage, upstream: Upstream) -> bool:
    return all(stage.source(name).get("state") == "ended" for name in upstream.runs)


async def _restart(stage: Stage, copy: Path | None = None) -> None:
    await asyncio.to_thread(stage.redis.kill)
    if copy is not None:
        stage.redis.put_back_files(copy)
    await stage.moment(0.3)
    await asyncio.to_thread(stage.redis.start)


async def lost_answers(stage: Stage, mishaps: int, silences: int) -> Findings:
    """C: appends whose answer never comes, comes by half, or which arrive late."""
    found = Findings(kills=mishaps + silences)
    planned = [MISHAPS[number % len(MISHAPS)] for number in range(mishaps)] + [Mishap.SILENT] * silences
    stage.random.shuffle(planned)
    async with _upstream(stage) as upstream:
        wire = await stage.wire()
        stage.daemon(streams(wire.url, upstream)).start()
        upstream.begin()
        await stage.grown()
        for mishap in planned:
            await stage.grown()
            await stage.moment(0.3)
            wire.arm(mishap)
            await wait_until(lambda: not wire.armed, f"an append meets: {mishap}", 20.0)
        await stage.grown()
        upstream.finish()
        await stage.ended(list(upstream.runs), found)
        stage.compare(upstream, found)
    found.notes.append(", ".join(f"{count} x {mishap}" for mishap, count in sorted(wire.happened.items())))
    return found


async def frozen_owner(stage: Stage, frozen: list[float]) -> Findings:
    """D: an owner is frozen, another takes over, the old one wakes; as often as `frozen` gives a time in seconds."""
    found = Findings(kills=len(frozen))
    async with _upstream(stage) as upstream:
        upstream.begin()
        owners = [await _owner(stage, upstream) for _ in range(1 + len(frozen))]
        await _takes_over(stage, upstream, *owners[0])
        for ((old, wire), (new, new_wire)), seconds in zip(pairwise(owners), frozen, strict=True):
            await stage.grown()
            await stage.moment(0.5)
            old.signal(signal.SIGSTOP)
            await _takes_over(stage, upstream, new, new_wire)
            await asyncio.sleep(seconds)  # past the old owner's time: its connections have their time-outs too
            await _wakes(stage, upstream, old, wire, found)
        upstream.finish()
        await stage.ended(list(upstream.runs), found)
        stage.compare(upstream, found)
    return found


async def _owner(stage: Stage, upstream: Upstream) -> tuple[Daemon, Wire]:
    """A daemon that is not started yet, with a wire of its own; but for that all have the same configuration."""
    wire = await stage.wire()
    return stage.daemon(streams(wire.url, upstream)), wire


async def _takes_over(stage: Stage, upstream: Upstream, daemon: Daemon, wire: Wire) -> None:
    daemon.start()
    wire.watch()
    mark = f"-{daemon.pid}-"
    await wait_until(
        lambda: all(mark in stage.source(name).get("owner", "") for name in upstream.runs) and wire.written,
        "the new bridge owns all sources", 20.0,
    )  # fmt: skip


async def _wakes(stage: Stage, upstream: Upstream, old: Daemon, wire: Wire, found: Findings) -> None:
    """Wake a frozen owner: it has to say that it is fenced, write nothing, and leave the ownership as it is."""
    owners = {name: stage.source(name)["owner"] for name in upstream.runs}
    wire.watch()
    old.signal(signal.SIGCONT)

    def fenced() -> bool:
        return {line["source"] for line in old.lines("source.fenced")} == set(upstream.runs)

    await wait_until(lambda: fenced() or wire.written > 20, "the old owner, woken, is fenced or writes", 10.0)
    found.check(fenced(), "the old owner, woken, does not say of every source that it is fenced")
    await stage.grown()
    found.check(not wire.written, f"the old owner, woken, wrote {wire.written} times")
    after = {name: stage.source(name)["owner"] for name in upstream.runs}
    found.check(after == owners, f"the old owner, woken, changed the owners from {owners} to {after}")
    found.check(old.alive, "the old owner did not survive being frozen")
