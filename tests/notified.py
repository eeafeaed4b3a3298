"""Systemd's side of sd_notify: a datagram socket with a path or an abstract name, and what was said to it."""

import itertools
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

_numbers = itertools.count()


class Notified:
    """Listens under `address`, which is a NOTIFY_SOCKET, while it is a context."""

    def __init__(self, directory: Path, *, abstract: bool = False) -> None:
        name = f"runbridge-{os.getpid()}-{next(_numbers)}"
        self.address = f"@{name}" if abstract else str(directory / name)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._said: list[list[str]] = []

    def __enter__(self) -> Self:
        self._socket.bind(self.address.replace("@", "\0", 1) if self.address.startswith("@") else self.address)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def messages(self) -> list[list[str]]:
        """The lines of each message until now."""
        while True:
            try:
                self._said.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return self._said

    @property
    def lines(self) -> list[str]:
        """All lines until now."""
        return [line for message in self.messages for line in message]

    def count(self, line: str) -> int:
        """How often this was said."""
        return self.lines.count(line)

    def status(self) -> list[str]:
        """The texts of STATUS."""
        return [line.removeprefix("STATUS=") for line in self.lines if line.startswith("STATUS=")]

    def fill(self) -> None:
        """Leave no room in the queue, as a systemd does that is busy."""
        address = self._socket.getsockname()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other:
            while True:
                try:
                    other.sendto(b"FULL=1", address)
                except BlockingIOError:
                    return
