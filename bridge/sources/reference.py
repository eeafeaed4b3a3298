"""Writes the table of outcomes as Markdown, and puts it into its page. Pure; says nothing that the table doesn't."""

from bridge.sources.outcome import TABLE, Row

BEGIN = "<!-- outcomes: made by `python -m bridge.sources docs/operations.md`; a test fails where it is not current -->"
END = "<!-- outcomes end -->"
_HEAD = "| answer | what the source does | what `reason` adds |\n|---|---|---|\n"


def markdown() -> str:
    """Returns the table, one line a row, in the order in which it is read."""
    return _HEAD + "".join(map(_line, TABLE))


def renewed(page: str) -> str:
    """Returns the page with the table as it is now between the two marks. ValueError if it hasn't got them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no lines {BEGIN!r} and {END!r}")
    return f"{before}{begin}\n{markdown()}{end}{after}"


def _line(row: Row) -> str:
    cells = (row.answers, row.means.value, row.advice)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"
