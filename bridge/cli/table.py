"""Columns of text for people: as wide as what stands in them, numbers to the right. Pure; prints nothing."""

from collections.abc import Container, Sequence
from itertools import zip_longest

from bridge.cli.terminal import Part

WIDEST = 40
"""Characters up to which a column grows; a longer text moves the rest of its row."""
Line = tuple[Part, ...]

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def table(
    headings: Sequence[str], rows: Sequence[Sequence[Part]], *, right: Container[str] = (), indent: str = ""
) -> list[Line]:  # fmt: skip
    """A line of headings, then one a row; the last column is not filled up. `right` are the headings of numbers."""
    every: list[Sequence[Part]] = [[(heading, "dim") for heading in headings], *rows]
    columns = zip_longest(*([text for text, _ in row] for row in every), fillvalue="")
    widths = [max((len(text) for text in column if len(text) <= WIDEST), default=0) for column in columns]
    widths[-1] = 0
    sides = [">" if heading in right else "<" for heading in headings]
    return [
        ((indent, ""), *(
            (f"{text:{side}{width}}{'  ' if width else ''}", style)
            for (text, style), side, width in zip(row, sides, widths, strict=True)
        ))
        for row in every
    ]  # fmt: skip


def span(seconds: float) -> str:
    """A time span in its largest unit, such as 5m."""
    for unit, length in (("d", _DAY), ("h", _HOUR), ("m", _MINUTE)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def short_span(seconds: float | None) -> str:
    """A time span that may be below a second, such as 40ms or 1.2s; "-" for none."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    return f"{seconds:.1f}s" if seconds < 10 else span(seconds)


def rate(per_second: float) -> str:
    """So many a second: 0, 0.3, 12, 1,200."""
    return f"{per_second:,.0f}" if per_second >= 9.95 or not per_second else f"{per_second:.1f}"


def count(number: int, one: str, more: str = "") -> str:
    """A number with its noun: 1 subject, 1,200 subjects."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"
