"""What came of an attempt: the table of outcomes, row by row, and its page."""

from pathlib import Path

import pytest

from bridge.delivery import reference
from bridge.delivery.lane import Result
from bridge.delivery.outcome import NO_ANSWER, NOT_SENT, TABLE, Row, judge_error, judge_status, told
from bridge.errors import HttpError

OPERATIONS = Path(__file__).parents[1] / "docs/operations.md"
SPECIAL = {
    408: Result.FAILED, 410: Result.GONE, 425: Result.FAILED, 429: Result.THROTTLED,
    502: Result.THROTTLED, 503: Result.THROTTLED, 504: Result.THROTTLED,
}  # fmt: skip
HUNDREDS = {2: Result.DELIVERED, 4: Result.REFUSED}


def test_every_status() -> None:
    """2xx is delivered, 410 is the end, 429, 502, 503 and 504 slow down, other 4xx refuse, and all else has failed."""
    for status in range(-1, 1200):
        assert judge_status(status) is SPECIAL.get(status, HUNDREDS.get(status // 100, Result.FAILED)), status


@pytest.mark.parametrize(
    ("result", "uses_attempt", "counts", "slows"),
    [
        (Result.DELIVERED, True, True, False),
        (Result.FAILED, True, True, False),
        (Result.THROTTLED, True, True, True),
        (Result.REFUSED, True, False, False),
        (Result.GONE, False, False, False),
        (Result.OURS, False, False, False),
    ],
)
def test_what_a_result_does(result: Result, *, uses_attempt: bool, counts: bool, slows: bool) -> None:
    """A result uses up an attempt, counts and slows down in all its rows alike, and each result has a row."""
    rows = [row for row in (*TABLE, NO_ANSWER, NOT_SENT) if row.result is result]
    assert rows
    assert {(row.uses_attempt, row.counts, row.slows) for row in rows} == {(uses_attempt, counts, slows)}


def test_errors_are_theirs_or_ours() -> None:
    """No whole answer is a failure of the receiver, unless the reason lies with this machine."""
    assert judge_error(HttpError("connection reset", sent=True)) is Result.FAILED
    assert judge_error(HttpError("10.0.0.1 is not allowed", sent=False)) is Result.FAILED
    assert judge_error(HttpError("no file descriptors left", sent=False, ours=True)) is Result.OURS


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.answers)
def test_every_row_is_reached(row: Row) -> None:
    """No row is hidden by those above it, and what a person reads is one line that begins with the status."""
    texts = {told(status) for status in range(1000) if row.reads in told(status)}
    assert texts
    assert all(text.splitlines() == [text] and text.partition(":")[0].isdigit() for text in texts)


def test_told_knows_any_number() -> None:
    """A number that is no status is told as one, too."""
    assert told(404) == "404: the receiver does not know the address: correct `url`"
    assert told(1234) == "1234: no status of a final answer"


def test_the_page_is_current() -> None:
    """The table in `docs/operations.md` is what `python -m bridge.delivery docs/operations.md` makes of the code."""
    page = OPERATIONS.read_text()
    assert page == reference.renewed(page)
    assert page.count("\n| 429, 502, 503, 504 | throttled | yes | as a failure | yes |") == 1


def test_a_page_without_marks_is_refused() -> None:
    """A page that has lost its marks is not written."""
    with pytest.raises(ValueError, match="the page has no lines"):
        reference.renewed("# Operations\n")
