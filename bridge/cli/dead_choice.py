"""Which dead letters a command is about: its options as one test. Reads no log."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.completion import destination_ids
from bridge.clock import unix
from bridge.delivery.globs import any_of

if TYPE_CHECKING:
    from bridge.redis_log.dead_letters import Letter

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", help="A letter's id as `list` shows it, its event's id, or its log entry's id."),
]
Destinations = Annotated[
    list[str] | None,
    typer.Option(
        "--destination",
        "-d",
        metavar="NAME",
        help="Only of this destination; may be repeated. All if absent.",
        autocompletion=destination_ids,
    ),
]
Types = Annotated[
    list[str] | None, typer.Option("--type", metavar="GLOB", help="Only events of such types; may be repeated.")
]
Subjects = Annotated[
    list[str] | None, typer.Option("--subject", metavar="ID|GLOB", help="Only of such subjects; may be repeated.")
]
Older = Annotated[
    str | None, typer.Option("--older-than", metavar="SPAN", help="Only those given up longer ago, such as 2h or 7d.")
]
Newer = Annotated[str | None, typer.Option("--newer-than", metavar="SPAN", help="Only those given up since then.")]
Statuses = Annotated[
    list[int] | None,
    typer.Option("--status", metavar="N", help="Only with this last status, 0: no answer; may be repeated."),
]
All = Annotated[bool, typer.Option("--all", help="All of them, as far as no other option narrows.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line, one a letter.")]


@dataclass(frozen=True, slots=True)
class Choice:
    """Letters that are wanted: every kind of option that was given narrows."""

    ids: frozenset[str]
    type: Callable[[str], bool] | None
    subject: Callable[[str], bool] | None
    statuses: frozenset[int]
    begin: str
    """The first and the last id that a letter may have, as Redis takes them."""
    end: str
    everything: bool

    @classmethod
    def of(
        cls, *, ids: Sequence[str] | None = None, types: Sequence[str] | None = None,
        subjects: Sequence[str] | None = None, older: str | None = None, newer: str | None = None,
        statuses: Sequence[int] | None = None, everything: bool = False,
    ) -> "Choice":  # fmt: skip
        """From the command's options. Raises typer.BadParameter for a span that is none."""
        return cls(
            frozenset(ids or ()),
            any_of(types) if types else None,
            any_of(subjects) if subjects else None,
            frozenset(statuses or ()),
            "-" if newer is None else str(_ago(newer, "--newer-than")),
            "+" if older is None else str(_ago(older, "--older-than")),
            everything,
        )

    @property
    def made(self) -> bool:
        """Whether anything says which letters, or that it is about all."""
        narrowed = self.ids or self.type or self.subject or self.statuses or (self.begin, self.end) != ("-", "+")
        return bool(narrowed) or self.everything

    def __call__(self, letter: "Letter") -> bool:
        """Whether this letter is one of them; its age is not looked at."""
        return (
            (not self.ids or bool(self.names(letter)))
            and (self.type is None or self.type(letter.type))
            and (self.subject is None or self.subject(letter.subject))
            and (not self.statuses or (letter.status or 0) in self.statuses)
        )

    def names(self, letter: "Letter") -> frozenset[str]:
        """Those of the ids that this letter has."""
        return self.ids & {letter.place.letter, letter.event, letter.entry}


def milliseconds(id_: str) -> int:
    """When an id of a stream was made, ms since 1970; 0 for a text that is none."""
    found = re.match(r"\d{1,15}(?=-)", id_)
    return int(found[0]) if found else 0


def _ago(text: str, option: str) -> int:
    from bridge.settings.units import duration  # noqa: PLC0415  # --help should not wait for the whole bridge

    try:
        return max(0, int((unix() - duration(text)) * 1000))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
