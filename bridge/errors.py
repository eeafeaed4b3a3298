"""Every error the bridge raises, and what the caller does about it. Refuses to hold any logic.

BridgeError
├── ConfigurationError     the user mends the configuration; the command exits 78
├── SourceError            the upstream failed in passing: reconnect with backoff
│   ├── SourceRefused      the upstream said no (4xx): state `failed`, re-check slowly
│   ├── CursorRefused      the upstream no longer knows the cursor: what `on_gap` says, and say so in the log
│   └── OutcomeUnknown     a consuming call ended without an answer: report a possible loss, then as SourceError
├── LogError
│   ├── LogUnavailable     Redis can't take a write now: wait with backoff, send the same again
│   ├── Moved              the log stands elsewhere than the writer thought: reload, rewind, go on
│   └── Fenced             somebody else owns this source or destination: stop it here
├── Declined               what was asked of the running bridge can't be done: tell who asked, change nothing
├── HttpError              a request got no answer: the adapter that made it says what that means
└── EmbeddedError          the embedded server can't be started: the command exits 69

Expected results (a parked record, a refused delivery) are values, not errors.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration: `path` is its key path (`sources.checkout.run`), `message` what to do."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class BridgeError(Exception):
    """Anything the bridge itself raises."""


class ConfigurationError(BridgeError):
    """The configuration can't be used; `problems` holds every mistake found, at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class SourceError(BridgeError):
    """The upstream failed in passing. `retry_after` is what it asked for, in seconds, if it did."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class SourceRefused(SourceError):
    """The upstream refused this subscription with `status`; asking again soon would not help.

    `unserved` is True where it doesn't know the call at all, whatever it is asked about.
    """

    def __init__(self, reason: str, *, status: int, unserved: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.unserved = unserved


class CursorRefused(SourceError):
    """The cursor can't be used any more, so what came after it may be missed."""


class OutcomeUnknown(SourceError):
    """A call that consumes what it reads ended without an answer: something may be lost."""


class LogError(BridgeError):
    """Something about the log in Redis."""


class LogUnavailable(LogError):
    """Redis can't be reached or refuses writes for now; `code` is its word for it (`OOM`, `READONLY`, ...)."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


class Moved(LogError):
    """The stored sequence is not the one this writer continued from."""

    def __init__(self, sequence: int, cursor: str) -> None:
        super().__init__(f"the log stands at sequence {sequence}")
        self.sequence = sequence
        self.cursor = cursor


class Fenced(LogError):
    """The stored owner is somebody newer."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"owned by {owner}")
        self.owner = owner


class Declined(BridgeError):
    """A command that can't be done; nothing of it was. `problems` holds every mistake found, at once."""

    def __init__(
        self,
        kind: Literal["invalid", "missing", "conflict", "unavailable"],
        detail: str,
        problems: tuple[Problem, ...] = (),
    ) -> None:
        super().__init__("\n".join([detail, *(str(problem) for problem in problems)]))
        self.kind = kind
        self.detail = detail
        self.problems = problems


class EmbeddedError(BridgeError):
    """The embedded server could not be started, or its directory is in use by another bridge."""


class HttpError(BridgeError):
    """A request got no whole answer. `sent` is True where the server may have acted on it.

    `ours` is True where the reason lies with this machine (no file descriptors left), not with the server.
    """

    def __init__(self, reason: str, *, sent: bool, ours: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        self.ours = ours
