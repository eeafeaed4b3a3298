"""The `sse` kind follows a server that nobody here wrote: nginx with the nchan module, resumed by `Last-Event-ID`."""

import asyncio
import time
from pathlib import Path
from random import Random, SystemRandom

from daemon import Daemon, Log, configuration
from nchan import Channel, Nchan
from proxy import Proxy
from waiting import wait_until

MESSAGES = 2000
PACE = 25
"""Messages between two looks at the clock: about a thousand a second are published."""


def following(directory: Path, log: Log, url: str) -> Daemon:
    """A daemon that follows a channel, and has no memory of ids to help it."""
    source = f'[sources.s]\nkind = "sse"\nurl = "{url}"\n'
    return Daemon(directory, configuration(log.server.url, source, prefix=log.prefix), BRIDGE_LOG__DEDUP_WINDOW="1")


async def publish(channel: Channel, numbers: range) -> str:
    """Publish `{"n": number}` for each, about a thousand a second; the last one's id."""
    last = ""
    for number in numbers:
        last = channel.publish({"n": number})
        if number % PACE == 0:
            await asyncio.sleep(PACE / 1000)
    return last


def numbers(log: Log) -> list[int]:
    """What is in the log of what was published."""
    return [event["data"]["n"] for event in log.events("message")]


async def test_every_message_once_over_kills_and_cuts(tmp_path: Path, log: Log) -> None:
    """Each of 2,000 messages is in the log once and in order, over three kill -9 and a cut of nginx' connection.

    The window of known ids holds one, so it is `Last-Event-ID` alone that resumes. It takes some seconds: four starts
    of a daemon, and two seconds of publishing.
    """
    seed = SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # pytest shows it where the test fails
    moments = Random(seed).sample(range(50, MESSAGES - 50), 4)
    cut, kills = moments[0], moments[1:]
    with Nchan(tmp_path / "nginx", buffer=2 * MESSAGES) as nchan:
        channel = nchan.channel("news")
        async with (
            Proxy(nchan) as proxy,
            following(tmp_path, log, proxy.url + channel.path) as running,
            asyncio.TaskGroup() as tasks,
        ):
            publishing = tasks.create_task(publish(channel, range(MESSAGES)))
            for connections, moment in enumerate(sorted(moments), 1):
                await wait_until(lambda: proxy.connections == connections, "the next connection")  # noqa: B023  # at once
                await log.longer(moment, 30.0)
                if moment in kills:
                    running.kill()
                    running.start()
                else:
                    proxy.cut()
            last = await publishing
            await wait_until(lambda: log.source()["cursor"] == last, f"nchan's last id {last} as the cursor", 30.0)
            await wait_until(lambda: proxy.connections == 5, "one connection more for each kill and the cut")
    assert numbers(log) == list(range(MESSAGES)), f"cut at {cut}, killed at {kills}"
    assert log.ids()[-1] == last
    assert log.length() == MESSAGES, "and nothing else: no gap"


async def test_what_nchan_has_forgotten_is_not_told(tmp_path: Path, log: Log) -> None:
    """A loss of nchan's own can't be seen: it answers 200 to an id that it no longer has, and goes on with what it has.

    A message that fell out of its buffer while the bridge was away, or with the memory of an nginx that was started
    again, is missing without any sign: nchan's ids are a time in seconds and a count within that second, so a hole
    between two of them is no hole in what they number. An nginx that is started again, or gets a SIGHUP, counts from 0:
    what it takes in the very second of the bridge's cursor it does not send, either. A buffer that outlasts the
    bridge's absence (`nchan_message_buffer_length`, `nchan_message_timeout`) is what prevents the first, and a number
    of the publisher's own in each message is what would show all. What nchan still has comes once and in order.
    """
    with Nchan(tmp_path / "nginx", buffer=5) as nchan:
        channel = nchan.channel("news")
        async with following(tmp_path, log, nchan.url + channel.path) as running:
            await publish(channel, range(3))
            await log.longer(2)
            running.kill()
            await publish(channel, range(3, 23))
            running.start()
            await log.longer(7)
            nchan.restart()
            second = int(log.source()["cursor"].partition(":")[0])
            await wait_until(lambda: time.time() >= second + 1, "another second than that of the cursor")
            await publish(channel, range(23, 26))
            await log.longer(10)
    assert numbers(log) == [0, 1, 2, *range(18, 26)]
    assert log.length() == 11, "and nothing else: nothing says so"
