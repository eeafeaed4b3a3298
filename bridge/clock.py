"""The only reader of the wall clock. Refuses to be used for durations: those are the event loop's time."""

import os
import time
from datetime import UTC, datetime


def now() -> datetime:
    """The wall clock, UTC."""
    return datetime.now(UTC)


def unix() -> float:
    """The wall clock in seconds since 1970, as Standard Webhooks wants it."""
    return time.time()


def rfc3339(moment: datetime) -> str:
    """`moment` as RFC 3339 in UTC with milliseconds: `2026-11-21T12:00:05.120Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Uuids:
    """Makes UUIDv7 (RFC 9562, 5.7) that ascend within this process, by 6.2, method 2: what is older sorts first."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        """A new one: milliseconds since 1970, then 74 random bits, or one more than the last."""
        value = (int(time.time() * 1000) & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
        value = value & ~(0xF << 76) | 0x7 << 76
        value = value & ~(0x3 << 62) | 0x2 << 62
        self._last = value = value if value > self._last else self._last + 1
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


uuid7 = _Uuids()
"""Returns a new UUIDv7."""
