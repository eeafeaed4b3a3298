"""Dead letters as lines: a table for people, objects for programs, one letter in full. Asks nobody for anything."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bridge.cli.dead_choice import milliseconds
from bridge.cli.event_line import printable
from bridge.cli.table import span
from bridge.cli.terminal import Columns, Terminal, type_colour

if TYPE_CHECKING:
    from bridge.redis_log.dead_letters import Letter

_HEADINGS = ("LETTER", "AGE", "DESTINATION", "TYPE", "SUBJECT", "TRIES", "STATUS", "ERROR")
_NUMBERS = ("attempts", "last_status")


class LetterTable:
    """Lines for people, in columns."""

    def __init__(self, now: datetime) -> None:
        self._now = now.timestamp() * 1000
        self._terminal = Terminal()
        self._columns = Columns(15, 4, 11, 16, 12, 5, 6)

    def headings(self) -> None:
        """The first line."""
        self._row(*_HEADINGS, style="dim")

    def __call__(self, letter: "Letter") -> None:
        """One line."""
        age = span(max(0.0, self._now - milliseconds(letter.place.letter)) / 1000)
        status = "-" if letter.status is None else str(letter.status)
        error = ("retrying; " if letter.retrying else "") + letter.error
        self._row(
            letter.place.letter, age, letter.place.destination, letter.type, letter.subject, str(letter.attempts),
            status, error, style="",
        )  # fmt: skip

    def _row(self, *texts: str, style: str) -> None:
        styles = ("bold", "dim", "", type_colour(texts[3]), "bold", "", "yellow", "dim")
        *columns, last = (printable(text) for text in texts)
        parts = [(self._columns(at, text), style or styles[at]) for at, text in enumerate(columns)]
        self._terminal.row(*parts, (last, style or styles[-1]))


def letter_object(letter: "Letter") -> dict[str, Any]:
    """A letter without its event, for programs; `event` is the event's id."""
    return {
        "letter": letter.place.letter, "destination": letter.place.destination, "partition": letter.place.partition,
        "event": letter.event, "type": letter.type, "subject": letter.subject, "entry": letter.entry,
        "attempts": letter.attempts, "last_status": letter.status, "last_error": letter.error, "time": letter.time,
        "retrying": letter.retrying,
    }  # fmt: skip


def whole_object(letter: "Letter", fields: dict[str, bytes]) -> dict[str, Any]:
    """A letter with its event, a text where it is no JSON, and the last answer's beginning, if there was one."""
    return {
        **letter_object(letter),
        "last_answer": fields["last_answer"].decode(errors="replace") if "last_answer" in fields else None,
        "event": _event(fields.get("event", b"")),
    }


def show_whole(letter: "Letter", fields: dict[str, bytes]) -> None:
    """A letter with everything, over many lines."""
    terminal, found = Terminal(), whole_object(letter, fields)
    event, answer = found.pop("event"), found.pop("last_answer")
    for name, value in ({"event_id": letter.event} | found).items():
        text = json.dumps(value) if isinstance(value, bool) else "-" if value is None else str(value)
        terminal.line((f"{name:<12}  ", "dim"), (printable(text), ""))
    pretty = event if isinstance(event, str) else json.dumps(event, indent=2, ensure_ascii=False)
    for name, text in (("event", pretty), ("last_answer", answer)):
        if text is not None:
            terminal.line((name, "dim"))
            for line in text.splitlines():
                terminal.line((f"  {printable(line)}", ""))


def _event(raw: bytes) -> Any:  # noqa: ANN401  # whatever JSON holds
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw.decode(errors="replace")
