"""Writes the table of outcomes as Markdown, and puts it into its page. Pure; says nothing that the table doesn't."""

from bridge.delivery.lane import Result
from bridge.delivery.outcome import NO_ANSWER, NOT_SENT, TABLE, Row

BEGIN = (
    "<!-- deliveries: made by `python -m bridge.delivery docs/operations.md`; a test fails where it is not current -->"
)
END = "<!-- deliveries end -->"
_HEAD = (
    "| answer | result | uses up an attempt | counts for the breaker | slows the destination | what a person reads |\n"
    "|---|---|---|---|---|---|\n"
)


def markdown() -> str:
    """Returns the table, one line a row, in the order in which it is read."""
    return _HEAD + "".join(map(_line, (*TABLE, NO_ANSWER, NOT_SENT)))


def renewed(page: str) -> str:
    """Returns the page with the table as it is now between the two marks. ValueError if it hasn't got them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no lines {BEGIN!r} and {END!r}")
    return f"{before}{begin}\n{markdown()}{end}{after}"


def _line(row: Row) -> str:
    counts = ("as a success" if row.result is Result.DELIVERED else "as a failure") if row.counts else "no"
    uses, slows = ("yes" if flag else "no" for flag in (row.uses_attempt, row.slows))
    cells = (row.answers, row.result.value, uses, counts, slows, row.reads)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"
