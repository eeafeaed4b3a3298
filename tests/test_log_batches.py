"""The whole of delivery over a real log, played at random: singles and batches, with an order and without."""

import asyncio
from typing import Any

import pytest
from destination import Receiver, delivering, destination, fill
from playing_delivery import Play
from servers import RedisServer
from waiting import wait_until

from bridge.delivery.lane import Limits, Together
from bridge.delivery.schedule import Schedule
from bridge.redis_log import Keys
from bridge.redis_log.feed import KEPT

AT_ONCE: dict[str, Any] = {"max_in_flight": 4, "max_attempts": 3, "refusals": 2, "schedule": Schedule.listed([0.0])}
MODES = {
    "singles": Limits(**AT_ONCE),
    "without an order": Limits(**AT_ONCE, ordered=False),
    "batches": Limits(**AT_ONCE, together=Together(5, 12, 0.002)),
    "batches without an order": Limits(**AT_ONCE, ordered=False, together=Together(5, 12, 0.002)),
}
PLAYS = 6


@pytest.mark.parametrize("trims", [False, True], ids=["whole", "trimmed"])
@pytest.mark.parametrize("mode", MODES)
async def test_whatever_happens_everything_arrives_in_order_and_nothing_is_left(
    server: RedisServer,
    prefix: str,
    mode: str,
    trims: bool,
) -> None:
    """Random answers, crashes, trims and retried letters: all is taken, first takes in order, no key is left over."""
    plays = [Play(server, f"{prefix}-{seed}", MODES[mode], seed, trims=trims) for seed in range(PLAYS)]
    await asyncio.gather(*(play.run() for play in plays))
    for play in plays:
        play.check()


@pytest.mark.parametrize("start", ["start", "now"])
async def test_other_programs_see_how_far_a_destination_is(server: RedisServer, prefix: str, start: str) -> None:
    """XINFO GROUPS: `entries-read` and `lag` are exact after every exchange, over restarts, trims and rests."""
    fill(server, prefix, [(f"old{number}", "s") for number in range(30)])
    server.call("XTRIM", Keys(prefix, 0).events, "MAXLEN", 20)
    before = 10 if start == "start" else 30
    for life in range(3):
        async with destination(server, prefix, start=start) as crm:
            for number in range(4):
                fill(server, prefix, [(f"e{life}-{number}-{at}", f"s{at}") for at in range(5)])
                before += len((await crm.take(want=3 + number)).entries)
                group = _group(server, prefix)
                added = 30 + 20 * life + 5 * (number + 1)
                assert (group["entries-read"], group["lag"]) == (before, added - before)


async def test_a_rest_keeps_the_count(shared_servers: dict[str, RedisServer], prefix: str) -> None:
    """More than is kept in memory comes and is not wanted, then something that is: the lag is 0 and was counted."""
    server, receiver = shared_servers["valkey"], Receiver()
    fill(server, prefix, [("first", "s")])
    async with delivering(server.url, prefix, receiver, wants=lambda type_: type_ == "t") as life:
        await wait_until(lambda: receiver.taken == ["first"], "the first")
        (feed,) = life.running.log.feeds
        await wait_until(lambda: feed._resting, "it rests")
        for _ in range(KEPT // 1000 + 2):
            pipeline = server.client().pipeline(transaction=False)
            for _ in range(1000):
                pipeline.xadd(Keys(prefix, 0).events, {"id": "x", "type": "no", "subject": "s", "event": "{}"})
            pipeline.execute()
        fill(server, prefix, [("last", "s")])
        await wait_until(lambda: receiver.taken == ["first", "last"], "the last")
        await wait_until(lambda: _group(server, prefix)["lag"] == 0, "no lag")
        assert _group(server, prefix)["entries-read"] == 1000 * (KEPT // 1000 + 2) + 2


def _group(server: RedisServer, prefix: str) -> dict[str, Any]:
    (group,) = server.client().xinfo_groups(Keys(prefix, 0).events)
    return dict(group)
