"""What an upstream's answer means for its source: the one table of outcomes. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import NoReturn

import msgspec

from bridge.errors import HttpError, OutcomeUnknown, SourceError, SourceRefused
from bridge.retry_after import retry_after

AMBIGUOUS = {502, 504}
"""A proxy gave up: what the server behind it did is not known (CONTRACT F.23)."""
PASSING = {408, 409, 425, 429}
ERROR_BODY = 4096
"""Bytes of an error's body that are looked at."""


def complaint(body: bytes) -> str:
    """What an error body says, in one line: flat `{code, error}`, nested `{error: {code, message}}`, or text."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = None
    if not isinstance(said, dict):
        text = body.decode(errors="replace").strip()
        return "an HTML page" if text.startswith("<") else " ".join(text.split())[:200]
    inner = said.get("error")
    fields = inner if isinstance(inner, dict) else {"code": said.get("code"), "message": inner or said.get("message")}
    parts = [str(fields[name]) for name in ("code", "message") if fields.get(name)]
    return ": ".join(parts)[:200]


def refuse(status: int, headers: Mapping[str, str], body: bytes, now: datetime, *, consuming: bool) -> NoReturn:
    """Raise what an answer other than the expected one means: SourceRefused, OutcomeUnknown or SourceError.

    `consuming` says that the call may have taken a record away.
    """
    said = complaint(body)
    reason = f"{status} {said}".strip()
    if status in AMBIGUOUS and consuming:
        raise OutcomeUnknown(reason, retry_after=retry_after(headers, now))
    if status >= 500 or status in PASSING:
        raise SourceError(reason, retry_after=retry_after(headers, now))
    if 300 <= status < 400:
        raise SourceRefused(f"{status}: a redirect to another origin is not followed; correct base_url", status=status)
    raise SourceRefused(reason, status=status)


def unanswered(error: HttpError, *, consuming: bool) -> SourceError:
    """What a request without a whole answer means."""
    return OutcomeUnknown(error.reason) if consuming and error.sent else SourceError(error.reason)
