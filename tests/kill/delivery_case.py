"""Case I: destinations of every temper under mixed load, while the bridge and Redis are killed.

One is healthy and has a filter, one is dead, one refuses all, one is slow and gets batches, one is flaky, one is flaky
and without order, one is poisoned by some events, and one is a stream in another Redis.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from daemon import Daemon
from servers import RedisServer, free_port
from waiting import wait_until

from kill.delivery_verdict import Due, Logged, Play, Traits, judge, judge_streams, poison
from kill.findings import Findings
from kill.manners import SECRET, End, Receiver, Reply
from kill.stage import EVENTS, Stage, streams
from kill.upstream import Run, Upstream

RUNS = 20
RATE = 5.0
"""Events a second of each run."""
SETTLING = 60.0
"""Seconds for all that can be settled to be settled."""
FLAKY_ENDS = (Reply(500), Reply(503), Reply(end=End.RESET), Reply(end=End.CUT), Reply(500, end=End.CUT))
TIMEOUT = 4.0
FEW = ("1", "4", "7")
"""How the ids of those end that the slow one wants: all runs are in each of its batches, so it takes one at a time."""
PREFIX = "bridge:{0}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played. `slow`: seconds of the slow one's answers; `pause`: the wait before the last try of poison."""

    kills: int
    redis_kills: int
    slow: tuple[float, float] = (1.0, 2.0)
    pause: float = 8.0
    names: Sequence[str] = ("healthy", "dead", "refusing", "slow", "flaky", "loose", "poison", "copy")
    rate: float = RATE
    settling: float = SETTLING


def _flaky(_: tuple[str, ...], random: Random) -> Reply:
    return random.choice(FLAKY_ENDS) if random.random() < 0.3 else Reply()


def _few(event: Logged) -> bool:
    return event.id.endswith(FEW)


def _some(event: Logged) -> bool:
    return event.number >= 3 and not event.id.endswith("7")


def _traits(plan: Plan) -> dict[str, Traits]:
    def slow(_: tuple[str, ...], random: Random) -> Reply:
        if (chance := random.random()) < 0.02:
            return Reply(end=End.SILENCE)
        return Reply(500 if chance < 0.2 else 204, random.uniform(*plan.slow))

    def poisoned(ids: tuple[str, ...], _: Random) -> Reply:
        return Reply(400) if poison(ids[0]) else Reply()

    some = "filter = 'data.data.n >= 3 and not endswith(id, \"7\")'\n"
    quickly = 'retry_schedule = ["50ms", "80ms"]\n'
    few = "filter = '" + " or ".join(f'endswith(id, "{end}")' for end in FEW) + "'\n"
    batches = (
        'format = "batched"\nbatch = {max_events = 50, max_wait_ms = 100}\n'
        f'timeout = "{TIMEOUT}s"\nmax_attempts = 3\n'
    )
    return {
        "healthy": Traits(lambda *_: Reply(), some, wants=_some),
        "dead": Traits(None, f"{quickly}max_attempts = 2\n", attempts=2),
        "refusing": Traits(lambda *_: Reply(400), 'on_refused = "dead"\n', attempts=1, dead=lambda _: True),
        "slow": Traits(slow, f"{few}{batches}{quickly}", attempts=3, dead=None, batch=50, in_flight=4, wants=_few),
        "flaky": Traits(_flaky, f"{quickly}max_attempts = 5\n", attempts=5, dead=None),
        "loose": Traits(_flaky, f'{some}{quickly}order = "none"\nmax_attempts = 4\n', attempts=4, dead=None,
                        ordered=False, wants=_some),
        "poison": Traits(poisoned, f'retry_schedule = ["50ms", "{plan.pause}s"]\n', attempts=3,
                         dead=lambda event: poison(event.id)),
    }  # fmt: skip


@dataclass(slots=True)
class _Case:
    stage: Stage
    plan: Plan
    found: Findings
    traits: dict[str, Traits]
    receivers: dict[str, Receiver] = field(default_factory=dict)
    started: list[float] = field(default_factory=list)
    """When the bridge was started or Redis was back, in seconds since 1970."""
    outages: int = 0
    """How often Redis was killed."""
    lives: int = 0
    dues: list[Due] = field(default_factory=list)

    def life(self) -> int:
        return self.lives

    def start(self, daemon: Daemon) -> None:
        self.lives += 1
        self.started.append(time.time())
        daemon.start()

    def kill(self, daemon: Daemon) -> None:
        daemon.kill()
        self.found.kills += 1


async def mixed_deliveries(stage: Stage, plan: Plan) -> Findings:
    """I: all of a plan, until everything that can be settled is settled."""
    traits = {name: traits for name, traits in _traits(plan).items() if name in plan.names}
    case = _Case(stage, plan, Findings(kills=plan.redis_kills), traits)
    runs = [Run(f"run-{number}", plan.rate) for number in range(RUNS)]
    # with "everysec" an answer may be ahead of the file, and what Redis forgets at its end is delivered again
    stage.redis.call("CONFIG", "SET", "appendfsync", "always")
    stage.redis.call("CONFIG", "REWRITE")
    target = RedisServer("valkey", stage.directory / "target", appendonly="yes")
    stage.stack.callback(target.stop)
    await asyncio.to_thread(target.start)
    async with contextlib.AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(Upstream(stage.random, runs, cut_every=200, replay=5))
        for name, each in traits.items():
            if each.manner is not None:
                receiver = Receiver(stage.random, each.manner, case.life)
                case.receivers[name] = await stack.enter_async_context(receiver)
        await _play(case, upstream, stage.daemon(streams(stage.redis.url, upstream, _destinations(case, target))))
        await stage.ended(list(upstream.runs), case.found)
        stage.compare(upstream, case.found)
        _judge(case, target)
    return case.found


async def _play(case: _Case, upstream: Upstream, daemon: Daemon) -> None:
    stage, plan = case.stage, case.plan
    case.start(daemon)
    upstream.begin()
    await _until_some_arrive(case)
    kills = [_kill_bridge] * plan.kills + [_kill_redis] * plan.redis_kills
    stage.random.shuffle(kills)
    for number, kill in enumerate(kills):
        if number % 5 != 3:
            await _until_some_arrive(case)
        await stage.moment(1.2)
        await kill(case, daemon)
    await _until_some_arrive(case)
    upstream.finish()
    sent = [Logged("", id_, "", run.name) for run in upstream.runs.values() for id_ in run.sent]
    ended = time.time()
    with contextlib.suppress(AssertionError):  # what is missing is counted
        await wait_until(lambda: _settled(case, sent), "all is settled", plan.settling)
    last = {name: receiver.arrivals[-1].at - ended for name, receiver in case.receivers.items()}
    name = max(last, key=lambda name: last[name])
    case.found.notes.append(f"settled {time.time() - ended:.1f} s after the last event, {name} last")


async def _kill_bridge(case: _Case, daemon: Daemon) -> None:
    case.kill(daemon)
    await asyncio.sleep(0.1)  # what it had sent is read, and belongs to its life
    case.dues += _dues(case)
    case.start(daemon)


async def _kill_redis(case: _Case, daemon: Daemon) -> None:
    """Every other time the bridge is killed while there is no Redis, and starts without one."""
    redis, moment = case.stage.redis, case.stage.moment
    case.dues += _dues(case)
    case.outages += 1
    await asyncio.to_thread(redis.kill)
    await moment(0.3)
    if case.outages % 2 == 0:
        case.kill(daemon)
        await asyncio.sleep(0.1)
        case.start(daemon)
        await moment(1.0)
    await asyncio.to_thread(redis.start)
    case.started.append(time.time())


async def _until_some_arrive(case: _Case) -> None:
    """Wait until each destination that is not dead has got one request more."""
    before = {name: len(receiver.arrivals) for name, receiver in case.receivers.items()}

    def silent() -> list[str]:
        return [name for name, receiver in case.receivers.items() if len(receiver.arrivals) <= before[name]]

    await wait_until(lambda: not silent(), "a webhook arrives everywhere", 30.0)


def _settled(case: _Case, sent: Sequence[Logged]) -> bool:
    """True when nothing waits any more but for the dead one; or when an event comes again and again."""
    receivers = case.receivers.items()
    if any(len(receiver.arrivals) > 20 * max(len(sent), 1) for _, receiver in receivers):
        return True
    for name, receiver in receivers:
        wants = case.traits[name].wants
        if any(event.id not in receiver.by_id for event in sent if wants(event)):
            return False
    redis = case.stage.redis
    return not any(
        redis.call("XPENDING", EVENTS, name)["pending"] or redis.call("HLEN", f"{PREFIX}:held:{name}")
        for name in case.receivers
    )  # fmt: skip


def _dues(case: _Case) -> list[Due]:
    """What waits for a time that is still some way off."""
    redis, now = case.stage.redis, time.time()
    clock, wall = map(int, (redis.call("GET", f"{PREFIX}:clock") or "0 0").split())  # not noted yet: the wall clock
    found = []
    for name in {"poison"} & case.receivers.keys():
        held = redis.call("HGETALL", f"{PREFIX}:held:{name}")
        scored = iter(redis.call("ZRANGE", f"{PREFIX}:due:{name}", 0, -1, "WITHSCORES"))
        for lane, score in zip(scored, scored, strict=True):
            due = (float(score) - clock + wall) / 1000
            if due > now + 0.5:
                first, attempts, *_ = held[lane].split(" ")
                found.append(Due(name, first, due, int(attempts), now))
    return found


def _destinations(case: _Case, target: RedisServer) -> str:
    tables = []
    for name, traits in case.traits.items():
        url = case.receivers[name].url if name in case.receivers else f"http://127.0.0.1:{free_port()}/"
        tables.append(
            f'[destinations.{name}]\nurl = "{url}"\nsecrets = ["{SECRET}"]\nallow_networks = ["127.0.0.0/8"]\n'
            f"max_in_flight = {traits.in_flight}\n{traits.keys}"
        )
    if "copy" in case.plan.names:
        tables.append(f'[destinations.copy]\nurl = "{target.url}"\nstream = "runs:{{subject}}"\nmax_entries = 0\n')
    return "".join(tables)


def _judge(case: _Case, target: RedisServer) -> None:
    redis = case.stage.redis
    log = list(_log(redis))
    for name, traits in case.traits.items():
        receiver = case.receivers.get(name)
        letters = redis.call("XRANGE", f"{PREFIX}:dead:{name}", "-", "+")
        dues = [due for due in case.dues if due.name == name]
        play = Play(
            name, traits, log, receiver.arrivals if receiver else None, [fields for _, fields in letters],
            _waiting(redis, name), _position(redis, name), case.started, case.outages, dues,
        )  # fmt: skip
        judge(play, case.found)
        case.found.check(not (receiver and receiver.forged), f"{name}: requests without a right signature")
    if "copy" in case.plan.names:
        judge_streams(log, lambda key: target.call("XRANGE", key, "-", "+"), target.call("KEYS", "runs:*"), case.found)


def _log(redis: RedisServer) -> Sequence[Logged]:
    entries = redis.call("XRANGE", EVENTS, "-", "+")
    return [Logged(entry, fields["id"], fields["type"], fields["subject"]) for entry, fields in entries]


def _waiting(redis: RedisServer, name: str) -> list[str]:
    """The log ids of all that is claimed or waits in a lane, each as often as it does."""
    pending = redis.client().xpending_range(EVENTS, name, "-", "+", 1_000_000)
    found = [str(entry["message_id"]) for entry in pending]
    for value in redis.call("HVALS", f"{PREFIX}:held:{name}"):
        found += value.split(" ")[0].split(",")
    for key in redis.call("KEYS", f"{PREFIX}:lane:{name}/*"):
        if redis.call("TYPE", key) == "list":
            found += redis.call("LRANGE", key, 0, -1)
    return found


def _position(redis: RedisServer, name: str) -> str:
    (group,) = [group for group in redis.client().xinfo_groups(EVENTS) if group["name"] == name]
    return str(group["last-delivered-id"])
