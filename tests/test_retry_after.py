"""Holds `Retry-After` to RFC 9110, 10.2.3, and to whatever servers make of it."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.retry_after import retry_after

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("Sat, 21 Nov 2026 12:01:00 GMT", 60.0),
        ("Saturday, 21-Nov-26 12:01:00 GMT", 60.0),
        ("Sat Nov 21 12:01:00 2026", 60.0),
        ("Sat, 21 Nov 2026 13:01:00 +0100", 60.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e400", None),
        ("soon", None),
        ("1_000", None),
        ("\u0661\u0662", None),
        ("Sat, 99 Nov 2026 12:01:00 GMT", None),
        ("1 1 1", None),
    ],
)
def test_numbers_and_dates(value: str, seconds: float | None) -> None:
    """Seconds, or a date in any of the three forms; what is neither counts as absent."""
    assert retry_after({"Retry-After": value}, NOW) == seconds


def test_no_header() -> None:
    """Without the header nothing is asked for."""
    assert retry_after({}, NOW) is None


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001  # hypothesis adds none
def test_any_date(moment: datetime) -> None:
    """A date is the seconds from now to it, and one that has passed is 0."""
    moment = moment.replace(tzinfo=UTC, microsecond=0)
    expected = max(0.0, (moment - NOW).total_seconds())
    assert retry_after({"Retry-After": format_datetime(moment, usegmt=True)}, NOW) == expected


DATE_PARTS = st.sampled_from(["Sat,", "Nov", "21", "2026", "12:01:00", "99:99", "GMT", "+9999", "-0000", "0", ":", "("])


@given(st.text() | st.lists(DATE_PARTS, max_size=8).map(" ".join))
def test_anything_else(value: str) -> None:
    """Whatever a server sends, the answer is a time to wait or none."""
    seconds = retry_after({"Retry-After": value}, NOW)
    assert seconds is None or 0 <= seconds < float("inf")
