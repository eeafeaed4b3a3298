"""What systemd is told, when, and that nothing is ever waited for: sd_notify(3), sd_watchdog_enabled(3)."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import virtual_time
from notified import Notified

from bridge.service_manager import AFTER_GRACE, MAX_STATUS, SPEAK_EVERY, ServiceManager, forget

MORE = "EXTEND_TIMEOUT_USEC=30000000"


@dataclass
class Bridge:
    """What the loop asks."""

    is_ready: bool = False
    is_alive: bool = True
    figures: str = "3 sources"


@contextlib.asynccontextmanager
async def running(manager: ServiceManager, bridge: Bridge) -> AsyncIterator[None]:
    """The manager's loop, beside."""
    loop = asyncio.create_task(
        manager.run(lambda: bridge.is_ready, lambda: bridge.figures, lambda: bridge.is_alive)
    )  # fmt: skip
    try:
        yield
    finally:
        loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loop
        manager.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Notified:
    """A socket to be entered."""
    return Notified(tmp_path)


def told(systemd: Notified, act: Callable[[ServiceManager], None]) -> list[str]:
    """What a manager says when this is done with it, without its loop."""
    with systemd:
        manager = ServiceManager({"NOTIFY_SOCKET": systemd.address})
        act(manager)
        manager.close()
        return systemd.lines


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_ready_is_said_once_it_is(tmp_path: Path, abstract: bool) -> None:
    """READY comes when the bridge is ready and not before, once, to either kind of socket; the figures come with it."""

    async def main() -> None:
        bridge = Bridge(figures="waits for Redis")
        with Notified(tmp_path, abstract=abstract) as systemd:
            async with running(ServiceManager({"NOTIFY_SOCKET": systemd.address}), bridge):
                await asyncio.sleep(7)
                assert "READY=1" not in systemd.lines
                assert systemd.status() == ["waits for Redis"]
                bridge.is_ready, bridge.figures = True, "all is well"
                await asyncio.sleep(0.5)
                assert systemd.messages[-2:] == [["READY=1"], ["STATUS=all is well"]]
                bridge.is_ready = False
                await asyncio.sleep(7)
                bridge.is_ready = True
                await asyncio.sleep(7)
            assert systemd.count("READY=1") == 1
            assert "WATCHDOG=1" not in systemd.lines

    virtual_time.run(main())


def test_a_long_start_gets_more_time_while_it_is_alive(systemd: Notified) -> None:
    """Until it is ready the bridge asks for more time well before the last is over, unless a loop is stuck."""

    async def main() -> None:
        bridge = Bridge()
        with systemd:
            async with running(ServiceManager({"NOTIFY_SOCKET": systemd.address}), bridge):
                await asyncio.sleep(25)
                assert systemd.count(MORE) == 3
                bridge.is_alive = False
                await asyncio.sleep(15)
                assert systemd.count(MORE) == 3
                bridge.is_alive = bridge.is_ready = True
                await asyncio.sleep(15)
            assert systemd.count(MORE) == 3

    virtual_time.run(main())


def test_the_status_is_said_seldom_and_only_when_it_changes(systemd: Notified) -> None:
    """Figures that change all the time are told every few seconds, those that don't once."""

    async def main() -> None:
        bridge = Bridge(is_ready=True)
        with systemd:
            async with running(ServiceManager({"NOTIFY_SOCKET": systemd.address}), bridge):
                await asyncio.sleep(12)
                assert systemd.status() == ["3 sources"]
                for number in range(200):
                    bridge.figures = f"{number} events"
                    await asyncio.sleep(0.1)
            said = [int(text.split()[0]) / 10 for text in systemd.status()[1:]]
            assert len(said) in {3, 4}
            assert min(later - earlier for earlier, later in pairwise(said)) >= SPEAK_EVERY - 0.1

    virtual_time.run(main())


def test_the_watchdog_is_fed_while_the_loops_make_progress(systemd: Notified) -> None:
    """WATCHDOG comes at half of the interval while all loops are alive, not while one is not, and again after that."""

    async def main() -> None:
        bridge = Bridge(is_ready=True)
        with systemd:
            variables = {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}
            async with running(ServiceManager({"NOTIFY_SOCKET": systemd.address, **variables}), bridge):
                await asyncio.sleep(0.1)
                for round_ in range(5):
                    assert systemd.count("WATCHDOG=1") == round_ + 1
                    await asyncio.sleep(2.25)
                fed = systemd.count("WATCHDOG=1")
                bridge.is_alive = False
                await asyncio.sleep(12)
                assert systemd.count("WATCHDOG=1") == fed
                bridge.is_alive = True
                await asyncio.sleep(0.5)
                assert systemd.count("WATCHDOG=1") == fed + 1

    virtual_time.run(main())


@pytest.mark.parametrize(
    "variables",
    [{}, {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "-5"},
     {"WATCHDOG_USEC": "soon"}],
    ids=["not asked", "another process", "zero", "negative", "no number"],
)  # fmt: skip
def test_no_watchdog_where_none_is_meant(systemd: Notified, variables: dict[str, str]) -> None:
    """Without a usable interval, or with one that is meant for another process, nothing is fed."""

    async def main() -> None:
        with systemd:
            manager = ServiceManager({"NOTIFY_SOCKET": systemd.address, **variables})
            async with running(manager, Bridge(is_ready=True)):
                await asyncio.sleep(7)
            assert systemd.lines == ["READY=1", "STATUS=3 sources"]

    virtual_time.run(main())


def test_a_reload_is_said_and_its_end(systemd: Notified) -> None:
    """RELOADING comes with the monotonic time, and READY again when the reload is done and not before."""

    async def main() -> None:
        with systemd:
            manager = ServiceManager({"NOTIFY_SOCKET": systemd.address})
            async with running(manager, Bridge(is_ready=True)):
                await asyncio.sleep(3)
                before = time.monotonic_ns() // 1000
                manager.reloading()
                await asyncio.sleep(3)
                reloading, moment = systemd.messages[-1]
                assert reloading == "RELOADING=1"
                assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
                assert systemd.count("READY=1") == 1
                manager.ready()
                assert systemd.count("READY=1") == 2
                await asyncio.sleep(3)
            assert systemd.count("READY=1") == 2

    virtual_time.run(main())


def test_a_reload_before_the_start_is_complete_says_nothing(systemd: Notified) -> None:
    """A reload that comes while the bridge is not ready for the first time doesn't make it look so."""

    async def main() -> None:
        bridge = Bridge()
        with systemd:
            manager = ServiceManager({"NOTIFY_SOCKET": systemd.address})
            async with running(manager, bridge):
                for _ in range(2):
                    manager.reloading()
                    await asyncio.sleep(2)
                    assert {"READY=1", "RELOADING=1"}.isdisjoint(systemd.lines)
                    manager.ready()
                    assert "READY=1" not in systemd.lines
                    bridge.is_ready = True  # from the second reload on, in its midst
                await asyncio.sleep(2)
            assert systemd.count("READY=1") == 1
            assert "RELOADING=1" not in systemd.lines

    virtual_time.run(main())


def test_the_stop_is_said_with_the_time_it_may_take(systemd: Notified) -> None:
    """STOPPING comes with the grace and what follows it, and READY is not said any more."""

    async def main() -> None:
        bridge = Bridge()
        with systemd:
            manager = ServiceManager({"NOTIFY_SOCKET": systemd.address})
            async with running(manager, bridge):
                manager.stopping(60)
                bridge.is_ready = True
                await asyncio.sleep(7)
                manager.ready()
            usec = int((60 + AFTER_GRACE) * 1e6)
            assert systemd.messages == [["STOPPING=1", f"EXTEND_TIMEOUT_USEC={usec}"], ["STATUS=3 sources"]]

    virtual_time.run(main())


def test_a_busy_systemd_hears_of_it_later(systemd: Notified) -> None:
    """A full queue blocks and fails nothing; what matters is said as soon as there is room."""

    async def main() -> None:
        with systemd:
            systemd.fill()
            manager = ServiceManager({"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "600000000"})
            async with running(manager, Bridge(is_ready=True)):
                await asyncio.sleep(3)
                assert set(systemd.lines) == {"FULL=1"}
                await asyncio.sleep(1)
            assert systemd.lines[-3:] == ["WATCHDOG=1", "READY=1", "STATUS=3 sources"]

    virtual_time.run(main())


def test_ready_is_not_said_behind_the_stop(systemd: Notified) -> None:
    """What a busy systemd could not be told before the stop is not made up for after it."""

    async def main() -> None:
        with systemd:
            systemd.fill()
            manager = ServiceManager({"NOTIFY_SOCKET": systemd.address})
            async with running(manager, Bridge(is_ready=True)):
                await asyncio.sleep(1)
                assert set(systemd.lines[:1]) == {"FULL=1"}
                manager.stopping()
                await asyncio.sleep(1)
            assert "STOPPING=1" in systemd.lines
            assert "READY=1" not in systemd.lines

    virtual_time.run(main())


@pytest.mark.parametrize("address", ["/nowhere/notify", "/" + "x" * 200, "@gone"], ids=["missing", "too long", "gone"])
def test_a_socket_that_is_gone_fails_nothing(address: str) -> None:
    """Where nobody listens, nothing is raised and the loop goes on trying."""

    async def main() -> None:
        manager = ServiceManager({"NOTIFY_SOCKET": address})
        async with running(manager, Bridge(is_ready=True)):
            await asyncio.sleep(7)
            manager.reloading()
            manager.ready()
            manager.stopping()
            assert not manager.status("well")

    virtual_time.run(main())


@pytest.mark.parametrize("address", [None, "", "@", "vsock:2:1234", "notify"])
async def test_without_a_socket_there_is_nothing_to_do(address: str | None) -> None:
    """Where no socket of a known kind is named, nothing is said, nothing is asked, and the loop ends at once."""
    manager = ServiceManager({} if address is None else {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    asked: list[str] = []

    def ask() -> bool:
        asked.append("how it stands")
        return True

    async with asyncio.timeout(1):
        await manager.run(ask, lambda: "", ask)
    manager.ready()
    manager.reloading()
    manager.stopping()

    assert asked == []
    assert not manager.status("well")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nMAINPID=1\x1b[31m", "a MAINPID=1 [31m"), ("é" * 1000, "é" * MAX_STATUS), ("\udc80", " ")],
    ids=["lines", "long", "no text"],
)
def test_a_status_is_one_line(systemd: Notified, text: str, shown: str) -> None:
    """Whatever is in the text, it is one line of printable characters, says nothing else, and is bounded."""
    assert told(systemd, lambda manager: print(manager.status(text))) == [f"STATUS={shown}"]


def test_children_do_not_inherit_the_variables() -> None:
    """What systemd put into the environment is gone, and nothing else."""
    environment = {"NOTIFY_SOCKET": "/s", "WATCHDOG_USEC": "1", "PATH": "/bin"}
    forget(environment)
    assert environment == {"PATH": "/bin"}
