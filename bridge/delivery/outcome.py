"""What came of an attempt, by the answer or the error: the one table of outcomes. Pure; knows no destination.

`TABLE` is read from top to bottom and the first row that fits decides; `docs/operations.md` shows it to people. What
a result does (`Row`) belongs to the result and not to the row, so that two rows can't contradict each other. The table
follows Standard Webhooks 1.0.0 and the HTTP webhook specification of CloudEvents.
"""

from collections.abc import Container
from dataclasses import dataclass

from bridge.delivery.lane import Result
from bridge.errors import HttpError

COUNTED = frozenset({Result.DELIVERED, Result.FAILED, Result.THROTTLED})
"""Results that the breaker looks at. A refusal is about the event, a failure of ours about this machine."""
FREE = frozenset({Result.OURS, Result.GONE})
"""Results that use up no attempt: they say nothing about the event."""

_NO_STATUS: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One row: which answers or errors, what they are to delivery, and what a person reads."""

    answers: str
    statuses: Container[int]
    result: Result
    reads: str

    @property
    def uses_attempt(self) -> bool:
        """True where the event has one attempt less afterwards."""
        return self.result not in FREE

    @property
    def counts(self) -> bool:
        """True where the breaker counts it, as a success or as a failure."""
        return self.result in COUNTED

    @property
    def slows(self) -> bool:
        """True where the whole destination is asked less for a while."""
        return self.result is Result.THROTTLED


TABLE = (
    Row("2xx", range(200, 300), Result.DELIVERED, "delivered"),
    Row("410", (410,), Result.GONE, "gone: the destination is disabled, and what waits for it stays"),
    Row("408, 425", (408, 425), Result.FAILED, "the receiver was not ready"),
    Row("429, 502, 503, 504", (429, 502, 503, 504), Result.THROTTLED, "the receiver asks for less"),
    Row("other 5xx", range(500, 600), Result.FAILED, "the receiver failed"),
    Row("3xx", range(300, 400), Result.FAILED, "a redirect is never followed: correct `url`"),
    Row("401, 403, 407", (401, 403, 407), Result.REFUSED,
        "the receiver does not know the signature or the key: correct `secrets` or `headers`"),
    Row("404, 405", (404, 405), Result.REFUSED, "the receiver does not know the address: correct `url`"),
    Row("413", (413,), Result.REFUSED, 'too large for the receiver: `format = "thin"` sends no data'),
    Row("415", (415,), Result.REFUSED, "the receiver does not know the form: correct `format`"),
    Row("other 4xx", range(400, 500), Result.REFUSED, "the receiver refuses this event"),
    Row("any other status", range(1000), Result.FAILED, "no status of a final answer"),
)  # fmt: skip
"""The rows of answers; the first that fits a status decides."""

NO_ANSWER = Row(
    "no connection, TLS, a broken or silent one, an answer that is no HTTP, an address that the guard refuses",
    _NO_STATUS, Result.FAILED, "what went wrong",
)  # fmt: skip
"""No whole answer, for a reason that lies with the receiver or the way to it."""
NOT_SENT = Row(
    "a failure of this side: Redis, no file descriptors, a mistake of the bridge",
    _NO_STATUS, Result.OURS, "what went wrong; tried again after 1 s to 60 s",
)  # fmt: skip
"""No whole answer, for a reason that lies with this side."""

_ROWS = {status: next(row for row in TABLE if status in row.statuses) for status in range(1000)}
_RESULTS = {status: row.result for status, row in _ROWS.items()}


def judge_status(status: int) -> Result:
    """What an answer with this status is to delivery; a number that is no status at all is a failure."""
    return _RESULTS.get(status, Result.FAILED)


def judge_error(error: HttpError) -> Result:
    """What an attempt without a whole answer is to delivery. Any other exception is a mistake of ours: `OURS`."""
    return (NOT_SENT if error.ours else NO_ANSWER).result


def told(status: int) -> str:
    """The status and what a person reads of it, on one line: `404: the receiver does not know the address: ...`."""
    return f"{status}: {_ROWS.get(status, TABLE[-1]).reads}"
