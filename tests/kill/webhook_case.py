"""Case F: signed webhooks out of the log, while the bridge is killed and the receiver refuses at random.

At least once is the promise, so an event may arrive again; it may not be lost, overtake, change its `webhook-id`, or
get more attempts than it has because a restart forgot some.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Self

from aiohttp import web
from standardwebhooks.webhooks import Webhook
from waiting import wait_until

from kill.findings import Findings
from kill.stage import Stage, streams
from kill.upstream import Run, Upstream

RUNS = 6
RATE = 30.0
"""Events a second of each run."""
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjU"
MAX_ATTEMPTS = 6
POISON_EVERY = 31
"""Every such event of a run is refused whenever it comes."""
DEAD = "bridge:{0}:dead:hook"


@dataclass(slots=True)
class Story:
    """What a receiver has seen of one event: when it came, under which ids, and when it was taken, if it was."""

    arrivals: list[float] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    taken: float | None = None


class Receiver:
    """Verifies every request; refuses poison always, anything else now and then, but never three times."""

    def __init__(self, random: Random) -> None:
        self.stories: defaultdict[str, Story] = defaultdict(Story)
        self.order: defaultdict[str, list[str]] = defaultdict(list)
        """Subject -> its events, each as it came for the first time."""
        self.forged = 0
        self.url = ""
        self._random = random
        self._requests = 0
        self._refused: defaultdict[str, int] = defaultdict(int)
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/hook", self._receive)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def more(self) -> None:
        """Wait until one more request comes."""
        before = self._requests
        await wait_until(lambda: self._requests > before, "a webhook arrives", 20.0)

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        self._requests += 1
        try:
            event = Webhook(SECRET).verify(body, dict(request.headers))
        except Exception:  # noqa: BLE001  # the package raises more than its own errors
            self.forged += 1
            return web.Response(status=400)
        story = self.stories[event["id"]]
        if not story.arrivals:
            self.order[event["subject"]].append(event["id"])
        story.arrivals.append(time.monotonic())
        story.ids.add(request.headers["webhook-id"])
        await asyncio.sleep(self._random.uniform(0.0, 0.005))
        if self._refuses(event["id"]):
            return web.Response(status=500)
        story.taken = story.taken or time.monotonic()
        return web.Response(status=204)

    def _refuses(self, id_: str) -> bool:
        if poison(id_):
            return True
        refused = self._refused[id_] < 2 and self._random.random() < 0.1
        self._refused[id_] += refused
        return refused


def poison(id_: str) -> bool:
    """True for the ids that are never taken."""
    digits = id_.rpartition("-")[2]
    return digits.isdigit() and int(digits) % POISON_EVERY == POISON_EVERY - 1


async def killed_deliveries(stage: Stage, kills: int) -> Findings:
    """F: the bridge is killed at random moments while it delivers."""
    found = Findings(kills=kills)
    runs = [Run(f"run-{number}", RATE) for number in range(RUNS)]
    killed = []
    async with Upstream(stage.random, runs, replay=5) as upstream, Receiver(stage.random) as receiver:
        daemon = stage.daemon(streams(stage.redis.url, upstream, _destination(receiver))).start()
        upstream.begin()
        for _ in range(kills):
            await receiver.more()
            await stage.moment(0.5)
            killed.append(time.monotonic())
            daemon.kill()
            daemon.start()
        await wait_until(lambda: runs[-1].available > POISON_EVERY, "an event of every run that is refused", 10.0)
        upstream.finish()
        sent = {run.name: list(run.sent) for run in runs}
        with contextlib.suppress(AssertionError):  # what is missing is counted below
            await wait_until(lambda: _over(stage, sent, receiver, kills), "all webhooks settled", 30.0)
        await stage.ended(list(upstream.runs), found)
        stage.compare(upstream, found)
    _judge(stage, sent, receiver, killed, found)
    return found


def _over(stage: Stage, sent: dict[str, list[str]], receiver: Receiver, kills: int) -> bool:
    """True when everything is taken or given up; or when an event has got more attempts than there can be."""
    if any(len(story.arrivals) > MAX_ATTEMPTS + kills for story in receiver.stories.values()):
        return True
    ids = [id_ for names in sent.values() for id_ in names]
    taken = all(receiver.stories[id_].taken for id_ in ids if not poison(id_))
    return taken and int(stage.redis.call("XLEN", DEAD)) >= sum(map(poison, ids))


def _judge(stage: Stage, sent: dict[str, list[str]], receiver: Receiver, killed: list[float], found: Findings) -> None:
    stories = receiver.stories
    for subject, ids in sent.items():
        order = {id_: at for at, id_ in enumerate(ids)}
        found.disordered += sum(order[later] < order[earlier] for earlier, later in pairwise(receiver.order[subject]))
        found.disordered += sum(
            _overtaken(stories[earlier], stories[later], earlier) for earlier, later in pairwise(ids)
        )
        found.missing += sum(stories[id_].taken is None for id_ in ids if not poison(id_))
    _judge_dead([fields for _, fields in stage.redis.call("XRANGE", DEAD, "-", "+")], sent, found)
    for id_ in filter(poison, stories):
        _judge_attempts(id_, stories[id_], killed, found)
    changed = [id_ for id_, story in stories.items() if len(story.ids) != 1]
    found.check(not changed, f"{len(changed)} events came under more than one webhook-id, such as {changed[:1]}")
    names = {webhook_id for story in stories.values() for webhook_id in story.ids}
    found.check(len(names) == len(stories), "different events came under one webhook-id")
    found.check(not receiver.forged, f"{receiver.forged} requests without a right signature")
    again = sum(max(0, len(story.arrivals) - 1) for story in stories.values())
    found.notes.append(f"{len(stories)} webhooks, {again} requests more for refused ones and after kills")


def _judge_dead(dead: list[dict[str, str]], sent: dict[str, list[str]], found: Findings) -> None:
    poisoned = sorted(id_ for ids in sent.values() for id_ in ids if poison(id_))
    same = sorted(entry["id"] for entry in dead) == poisoned
    found.check(same, f"{len(dead)} dead letters, though {len(poisoned)} events are always refused")
    attempts = {entry["attempts"] for entry in dead}
    found.check(
        attempts <= {str(MAX_ATTEMPTS)}, f"dead letters after {attempts} attempts, though {MAX_ATTEMPTS} are set"
    )
    found.notes.append(f"{len(dead)} dead letters")


def _overtaken(earlier: Story, later: Story, id_: str) -> bool:
    """True if an event came before the one before it was taken, or given up."""
    if not later.arrivals:
        return False
    if poison(id_):
        return sum(arrival < later.arrivals[0] for arrival in earlier.arrivals) < MAX_ATTEMPTS
    return earlier.taken is None or later.arrivals[0] < earlier.taken


def _judge_attempts(id_: str, story: Story, killed: list[float], found: Findings) -> None:
    """A kill may hide the one attempt that was in flight; all others have to be remembered."""
    made = len(story.arrivals)
    hidden = sum(story.arrivals[0] < moment < story.arrivals[-1] for moment in killed) if made else 0
    found.check(
        MAX_ATTEMPTS <= made <= MAX_ATTEMPTS + hidden,
        f"{id_}: {made} attempts, though {MAX_ATTEMPTS} are set and {hidden} kills came between",
    )


def _destination(receiver: Receiver) -> str:
    return (
        f'[destinations.hook]\nurl = "{receiver.url}"\nsecrets = ["{SECRET}"]\nallow_networks = ["127.0.0.0/8"]\n'
        f'max_attempts = {MAX_ATTEMPTS}\nretry_schedule = ["80ms"]\n'
    )
