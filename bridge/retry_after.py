"""Reads `Retry-After` (RFC 9110, 10.2.3). Pure; the caller caps it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,400}(\.[0-9]{1,9})?")
"""A whole number by the RFC; some servers send a fraction."""


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds asked for, as a number or as an HTTP date; None where there is no such header, or no such number."""
    value = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
