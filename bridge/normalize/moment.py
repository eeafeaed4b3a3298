"""Reads a time however an upstream writes it, as RFC 3339 in UTC. Pure; never raises."""

from datetime import UTC, datetime

MILLISECONDS_FROM = 1e11
"""Numbers from here on are milliseconds since 1970: as seconds they would lie beyond the year 5138."""


def rfc3339(moment: datetime) -> str:
    """`moment` in UTC with a `Z`; one without a zone is taken as UTC."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def read(value: object) -> str | None:
    """A time as RFC 3339 UTC; None if it can't be read. Takes ISO 8601 (naive is UTC) and epochs in s or ms."""
    try:
        if isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            seconds = value / 1000 if abs(value) >= MILLISECONDS_FROM else value
            return rfc3339(datetime.fromtimestamp(seconds, UTC))
        if isinstance(value, str):
            text = value.strip()
            if text.replace(".", "", 1).isdigit() and len(text) >= 9:
                return read(float(text))
            return rfc3339(datetime.fromisoformat(text))
    except (ValueError, OverflowError, OSError):
        return None
    return None
