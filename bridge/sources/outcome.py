"""What an upstream's answer means for its source: the one table of outcomes. Pure.

`TABLE` is read from top to bottom and the first row that fits decides; `docs/operations.md` shows it to people. What
else can happen is beside it: `unanswered` for a request without a whole answer. What ends a source is not an answer's
status but what the upstream tells of the run or the work, and is in the normalisers.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

import msgspec

from bridge.errors import CursorRefused, HttpError, OutcomeUnknown, SourceError, SourceRefused
from bridge.retry_after import retry_after

ERROR_BODY = 4096
"""Bytes of an error's body that are looked at."""
ERROR_TIME = 5.0
"""Seconds in which they have to come; what has come by then is looked at."""


class Means(Enum):
    """What a source does about an answer."""

    RETRY = "asks again, with the same cursor, after a backoff or the answer's Retry-After"
    RECHECK = "has failed, says so in the log, and looks again every `recheck`"
    PARK = "parks the body, then asks again after a backoff"
    GAP = "does what `on_gap` says, and says so in the log"
    UNKNOWN = "reports a possible loss, then asks again after a backoff"


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an error body says: its code and message, and the form it has."""

    code: str
    message: str
    form: str
    """flat `{code, error}`, nested `{error: {code, message}}`, json, html, text or empty."""

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.code, self.message)))[:200]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer other than the expected one.

    `consuming` says that the call may have taken a record away, `cursor` is the one that was sent, `stream` says that
    events were to come on this answer as they happen, `whole` that they are those of a whole account: its address
    names nothing that could be gone, but for the cursor.
    """

    status: int
    said: Complaint
    consuming: bool = False
    cursor: str = ""
    stream: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: which answers, what they mean, and what a person can do about it."""

    answers: str
    fits: Callable[[Answer], bool]
    means: Means
    advice: str = ""


UNSERVED = "this API version is not served here: correct `api`, `version` or `kind`, or base_url or url"
NOT_FOUND = "not found: correct the id, or the account"
_CURSOR_CODES = {"event.not_found", "SUBSCRIPTION_GONE"}
_UNSERVED_CODES = {"route.not_found", "request.version_unsupported"}
_CURSOR_WORDS = re.compile(r"""(?:cursor|last-event-id|["'`]after["'`]|^after\b)(?!=)""", re.IGNORECASE)
"""Neither "try again after a minute" nor an address that is repeated (`?cursor=...`) is about the cursor."""
_PLAIN_CODES = re.compile(r"(?:(?:events?|resources?|request|http|error)[._-]?)?(?:404|not[._-]?found)?", re.IGNORECASE)
_OTHER_NOUNS = re.compile(
    r"\b(?:route|path|page|url|endpoint|host|method|version|key|org(?:ani[sz]ation)?|(?:sub-?)?account|user|team|"
    r"(?:work)?space|project|run|runtime|browser|sandbox|task|conversation|agent|actor)s?\b", re.IGNORECASE
)  # fmt: skip
"""What else can be missing: an answer that names one of these is not about the cursor for certain."""
_SURE = 4
"""Characters of a cursor that is recognised without quotation marks: a shorter one may be any word or number."""


def _quoted(cursor: str, message: str) -> bool:
    """True where a message repeats the cursor, other than in an address or as a part of something longer."""
    before, behind = (r"(?<![\w=&/%.-])", r"(?![\w-])") if len(cursor) >= _SURE else (r"[\"'`]", r"[\"'`]")
    return bool(cursor and re.search(before + re.escape(cursor) + behind, message))


def _about_cursor(answer: Answer) -> bool:
    said = answer.said
    if not answer.cursor or not 400 <= answer.status < 500 or answer.status in {401, 403, 408, 425, 429}:
        return False
    if said.code in _UNSERVED_CODES:
        return False
    words = any(map(_CURSOR_WORDS.search, (said.code, said.message)))
    named = said.code in _CURSOR_CODES or words or _quoted(answer.cursor, said.message)
    return answer.status == 410 or (named and said.form not in {"html", "empty"})


def _only_cursor(answer: Answer) -> bool:
    said = answer.said
    plain = _PLAIN_CODES.fullmatch(said.code) and not _OTHER_NOUNS.search(said.message)
    json = said.form in {"flat", "nested", "json"}
    return bool(answer.whole and answer.cursor and answer.status == 404 and json and plain)


def _unserved(answer: Answer) -> bool:
    said = answer.said
    unknown = answer.status in {404, 405, 501} and said.form in {"html", "text"}
    return said.code in _UNSERVED_CODES or unknown or answer.status == 405


TABLE = (
    Row("502 and 504 of a call that consumes", lambda answer: answer.consuming and answer.status in {502, 504},
        Means.UNKNOWN),
    Row("4xx that names or repeats the cursor, 410 to a cursor", _about_cursor, Means.GAP),
    Row("404 with JSON to a cursor of an account's stream, unless it names another thing (route, space, run, ...)",
        _only_cursor, Means.GAP),
    Row("`route.not_found`, `request.version_unsupported`, 405, 404 or 501 with HTML or text", _unserved,
        Means.RECHECK, UNSERVED),
    Row("408, 409, 425, 429", lambda answer: answer.status in {408, 409, 425, 429}, Means.RETRY),
    Row("5xx", lambda answer: answer.status >= 500, Means.RETRY),
    Row("3xx", lambda answer: 300 <= answer.status < 400, Means.RECHECK,
        "a redirect to another origin is not followed; correct base_url or url"),
    Row("401, 403", lambda answer: answer.status in {401, 403}, Means.RECHECK,
        "the key was refused; correct the account's api_key, or headers"),
    Row("404", lambda answer: answer.status == 404, Means.RECHECK, NOT_FOUND),
    Row("400, 422 and other 4xx", lambda answer: answer.status >= 400, Means.RECHECK,
        "the upstream refuses this request: correct its filters or id"),
    Row("204 where a stream was expected", lambda answer: answer.status == 204 and answer.stream, Means.RECHECK,
        "the upstream asks not to reconnect"),
    Row("200 with HTML or JSON where a stream was expected", lambda answer: answer.status == 200 and answer.stream,
        Means.RETRY, "an event stream was expected"),
    Row("200 with a body that can't be read", lambda answer: answer.status == 200, Means.PARK),
    Row("other 2xx", lambda answer: answer.status < 300, Means.RECHECK, "200 was expected"),
)  # fmt: skip
"""The first row that fits an answer decides."""


def judge(answer: Answer) -> Row:
    """The row of an answer."""
    return next(row for row in TABLE if row.fits(answer))


def complaint(body: bytes) -> Complaint:
    """What an error body says: flat `{code, error}`, nested `{error: {code, message}}` with any code, text or HTML."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body.decode(errors="replace").strip()
        if text.startswith("<"):
            return Complaint("", "an HTML page", "html")
        return Complaint("", " ".join(text.split())[:200], "text" if text else "empty")
    if said in (None, [], {}):
        return Complaint("", "", "json")
    if not isinstance(said, dict):
        return Complaint("", " ".join(body.decode(errors="replace").split())[:200], "json")
    inner = said.get("error")
    if isinstance(inner, dict):
        return Complaint(_text(inner.get("code")), _text(inner.get("message")), "nested")
    message = _text(inner) or _text(said.get("message")) or _text(said.get("detail"))
    return Complaint(_text(said.get("code")), message, "flat" if inner or said.get("code") else "json")


def _text(value: object) -> str:
    return " ".join(str(value).split())[:200] if isinstance(value, str | int) and not isinstance(value, bool) else ""


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime, *,
    consuming: bool = False, cursor: str = "", stream: bool = False, whole: bool = False,
) -> SourceError:  # fmt: skip
    """The error that an answer means, to be raised: SourceRefused, CursorRefused, OutcomeUnknown or SourceError."""
    said = complaint(body)
    row = judge(Answer(status, said, consuming, cursor, stream, whole))
    reason = _told(status, said) + (f": {row.advice}" if row.advice else "")
    wait = retry_after(headers, now)
    if row.means is Means.UNKNOWN:
        return OutcomeUnknown(reason, retry_after=wait)
    if row.means is Means.GAP:
        return CursorRefused(reason)
    if row.means is Means.RECHECK:
        return SourceRefused(reason, status=status, unserved=row.advice is UNSERVED)
    return SourceError(reason, retry_after=wait)


def _told(status: int, said: Complaint) -> str:
    """The status, once, and what the body adds to it."""
    number = str(status)
    code = "" if said.code == number else said.code
    message = re.sub(rf"^{number}\b[\s:.-]*", "", said.message)
    return f"{number} {Complaint(code, message, said.form)}".strip()


def unanswered(error: HttpError, *, consuming: bool) -> SourceError:
    """What a request without a whole answer means."""
    return OutcomeUnknown(error.reason) if consuming and error.sent else SourceError(error.reason)
