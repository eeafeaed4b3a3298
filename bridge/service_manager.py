"""Tells systemd how the daemon stands, as sd_notify(3) and sd_watchdog_enabled(3) say. Refuses to raise or to wait.

The protocol is a datagram of `NAME=value` lines to the socket in NOTIFY_SOCKET. Without one, all of this does nothing.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping

from bridge.stop import nap

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What systemd puts into the environment of a service."""
ROUND = 0.25
"""Seconds between looks, and the most that READY comes late."""
SPEAK_EVERY = 5.0
"""Seconds between two STATUS texts."""
MAX_STATUS = 400
"""Characters of a STATUS text: one line of `systemctl status`."""
AFTER_GRACE = 10.0
"""Seconds for what comes behind the drain: connections are closed, the embedded server ends."""
MORE_TIME = 30.0
"""Seconds asked for while the start takes long, and asked for again in a third of them."""


def forget(environment: MutableMapping[str, str]) -> None:
    """Take systemd's variables out, so that no child speaks in the daemon's name."""
    for name in VARIABLES:
        environment.pop(name, None)


class ServiceManager:
    """The service manager that started this process, if there is one. `run` is its only loop."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _address_of(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog = _watchdog_of(environment) if self._address else None
        """Seconds within which systemd wants to hear that all is well; None where it doesn't."""
        self._socket: socket.socket | None = None
        self._started = False
        """READY was said once."""
        self._reloading = False
        self._owed = False
        """READY has to be said, and could not be yet."""
        self._stopping = False

    def ready(self) -> None:
        """The start or a reload is complete; it is said again in the next round if systemd can't be reached now."""
        # the end of a reload that came before the start was complete
        early, self._reloading = self._reloading and not self._started, False
        if not early and not self._stopping:
            self._owed = True
            self._say_ready()

    def reloading(self) -> None:
        """A reload begins, which `ready` ends, whatever came of it."""
        self._reloading = True
        if self._started and not self._stopping:
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, grace: float = 0.0) -> None:
        """The end begins; it takes up to `grace` seconds and AFTER_GRACE, even where TimeoutStopSec is less."""
        self._stopping = True
        self._send("STOPPING=1", _more(grace + AFTER_GRACE))

    def status(self, text: str) -> bool:
        """Show a line in `systemctl status`, in the first MAX_STATUS characters; True if it has arrived."""
        line = "".join(character if character.isprintable() else " " for character in text)
        return self._send(f"STATUS={line[:MAX_STATUS]}")

    async def run(self, ready: Callable[[], bool], figures: Callable[[], str], alive: Callable[[], bool]) -> None:
        """Say READY once it is, how things stand, and that the loops make progress while they do; until cancelled.

        While the start takes long, more time is asked for as long as the loops are `alive`: an end would mend nothing.
        """
        clock = asyncio.get_running_loop().time
        half = self._watchdog / 2 if self._watchdog else None
        said, speak, bark, plead = "", clock(), clock(), clock()
        while self._address:
            now = clock()
            if half and now >= bark and alive() and self._send("WATCHDOG=1"):
                bark = now + half
            if not self._started and not self._stopping:
                self._owed = self._owed or ready()
                if not self._owed and now >= plead and alive() and self._send(_more(MORE_TIME)):
                    plead = now + MORE_TIME / 3
            if self._say_ready():
                speak = now
            if now >= speak and (text := figures()) != said and self.status(text):
                said, speak = text, now + SPEAK_EVERY
            await nap(min(ROUND, half or ROUND))

    def close(self) -> None:
        """Give the socket back; a later message opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say_ready(self) -> bool:
        if not self._owed or self._stopping or self._reloading or not self._send("READY=1"):
            return False
        self._started, self._owed = True, False
        return True

    def _send(self, *assignments: str) -> bool:
        """True if systemd has it. False where it can't be reached, or its queue is full: nobody waits for it."""
        if not self._address:
            return False
        with contextlib.suppress(OSError):
            if self._socket is None:  # kept open: a process without a free file descriptor must still be heard
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.sendto("\n".join(assignments).encode(errors="replace"), self._address)
            return True
        return False


def _more(seconds: float) -> str:
    return f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}"


def _address_of(text: str) -> str:
    """The socket's address: a path, or an abstract name behind `@`; "" for none and for any other kind."""
    if text.startswith("@"):
        return f"\0{text[1:]}" if len(text) > 1 else ""
    return text if text.startswith("/") else ""


def _watchdog_of(environment: Mapping[str, str]) -> float | None:
    """Seconds; None where no watchdog is asked for, or another process is meant."""
    microseconds, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    meant = not process or process == str(os.getpid())
    return int(microseconds) / 1e6 if meant and microseconds.isdecimal() and int(microseconds) else None
