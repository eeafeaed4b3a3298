"""`runbridge parked list | show | retry | drop`: records that could not be read. Reads none itself: a bridge does."""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.at_log import at_log, end_usage, settings_of
from bridge.cli.completion import source_ids
from bridge.cli.ending import until_signal
from bridge.cli.event_line import printable
from bridge.cli.options import EX_TEMPFAIL, ConfigOption
from bridge.cli.terminal import Columns, Terminal, while_somebody_reads

if TYPE_CHECKING:
    from bridge.cli.parked_work import Chosen
    from bridge.redis_log import ParkedRecord, WholeRecord
    from bridge.settings import Settings

EX_MISSED = 1
SHOWN = 100
"""Lines of `list` for people, unless told."""
HEX_LINE = 32
"""Bytes on a line of what is no text."""

SourceOption = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="ID", help="Only of this source; may be repeated.", autocompletion=source_ids),
]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="A record's id, such as 0-1795348800123-0.")]
All = Annotated[bool, typer.Option("--all", help="All records, or all of --source.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


def list_records(
    *, config: ConfigOption = None, sources: SourceOption = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Only the last so many.")] = None,
    as_json: JsonLines = False,
) -> None:  # fmt: skip
    r"""List the parked records, the newest last: what a source brought and could not read, kept whole with the reason.

    For people the last 100 unless --limit says otherwise, with --json all. The log keeps the last 10,000 or so of each
    partition.

    \b
      runbridge parked list -c bridge.toml
      runbridge parked list -c bridge.toml --source checkout --json | jq -r .id

    Exit codes: 0, 69 when Redis can't be reached, 78 when the configuration has mistakes.
    """
    settings = settings_of(config)
    most = limit if limit or as_json else SHOWN
    with while_somebody_reads(), at_log(settings, "parked list"):
        asyncio.run(until_signal(_list(settings, sources or [], most, as_json=as_json)))


def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A record's id, such as 0-1795348800123-0.")],
    *, config: ConfigOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write its bytes to standard output, and nothing else.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; bytes that are no text in hex.")]
    = False,
) -> None:  # fmt: skip
    r"""Show a parked record in full: where it came from, why it could not be read, and its bytes.

    What is UTF-8 is shown as text, without the characters that a terminal would act on; all else in hex.

    \b
      runbridge parked show 0-1795348800123-0 -c bridge.toml
      runbridge parked show 0-1795348800123-0 -c bridge.toml --raw | jq .

    Exit codes: 0, 1 when no parked record has this id, 69 when Redis can't be reached, 78 when the configuration has
    mistakes.
    """
    if raw and as_json:
        end_usage("parked show", "--raw writes the bytes alone: leave --json away")
    settings = settings_of(config)
    with while_somebody_reads(), at_log(settings, "parked show"):
        found = asyncio.run(until_signal(_show(settings, id_)))
        if found is None:
            print(f"runbridge parked show: no parked record has the id {id_}", file=sys.stderr)
            raise typer.Exit(EX_MISSED)
        if raw:
            sys.stdout.buffer.write(found.raw)
        elif as_json:
            text = _text(found.raw)
            print(json.dumps({**_object(found), **({"raw_hex": found.raw.hex()} if text is None else {"raw": text})}))
        else:
            _print_whole(found)


def retry(
    ids: Ids = None, *, config: ConfigOption = None, sources: SourceOption = None, everything: All = False,
    as_json: JsonLines = False,
) -> None:  # fmt: skip
    r"""Have a running bridge read parked records again, as after an upgrade of it.

    One that can be read now goes into the log as an event and leaves the parked ones; it comes behind what its source
    has brought since. The others stay, and the reason of today is told. Of a record over `max_event_bytes` only the
    beginning was kept, so it can't be read; and what only a frame's name or `id:` line said was not kept either.

    \b
      runbridge parked retry 0-1795348800123-0 -c bridge.toml
      runbridge parked retry --all --source checkout -c bridge.toml

    Exit codes: 0 when all went into the log, 1 when some did not, 2 when nothing says which, 69 when Redis can't be
    reached, 75 when no bridge answers (the first one that starts does what was asked last), 78 when the configuration
    has mistakes.
    """
    _named("parked retry", ids, everything=everything)
    settings = settings_of(config)
    with while_somebody_reads(), at_log(settings, "parked retry"):
        code = asyncio.run(until_signal(_retry(settings, ids or [], sources or [], as_json=as_json)))
    raise typer.Exit(code or 0)


def drop(
    ids: Ids = None, *, config: ConfigOption = None, sources: SourceOption = None, everything: All = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:  # fmt: skip
    r"""Remove parked records for good: what they say is in no log then.

    Asks before it does so; where there is no terminal to ask at, --yes has to say it.

    \b
      runbridge parked drop 0-1795348800123-0 -c bridge.toml
      runbridge parked drop --all --source checkout --yes -c bridge.toml

    Exit codes: 0; 1 when no record has an id, or the answer was no; 2 when nothing says which; 69 when Redis can't be
    reached, 78 when the configuration has mistakes.
    """
    _named("parked drop", ids, everything=everything)
    if not (yes or sys.stdin.isatty()):
        end_usage("parked drop", "there is no terminal to ask at: say --yes, or look first with `parked list`")
    settings = settings_of(config)
    with at_log(settings, "parked drop"):
        chosen = asyncio.run(until_signal(_chosen(settings, ids or [], sources or [])))
        if chosen is None:
            return
        if chosen.count and not yes:
            typer.confirm(f"Drop {chosen.count} parked records for good?", abort=True, err=True)
        dropped = asyncio.run(until_signal(_drop(settings, chosen)))
    if dropped is not None:
        print(f"dropped {dropped} parked records", file=sys.stderr)
    _missing("parked drop", chosen.missing)


COMMANDS: dict[str, Callable[..., None]] = {"list": list_records, "show": show, "retry": retry, "drop": drop}


async def _list(settings: "Settings", sources: list[str], limit: int | None, *, as_json: bool) -> None:
    from bridge.cli.parked_work import found, newest, opened  # noqa: PLC0415  # --help should not wait for these

    async with opened(settings) as records:
        if limit is None:
            async for record in found(records, sources):
                print(json.dumps(_object(record)))
            return
        last, total = await newest(records, sources, limit), await records.count()
    if as_json:
        for record in last:
            print(json.dumps(_object(record)))
        return
    _print_table(last)
    if len(last) < total:
        print(f"{len(last)} of {total} parked records; see --limit and --json", file=sys.stderr)
    elif not last:
        print("no parked records", file=sys.stderr)


async def _show(settings: "Settings", id_: str) -> "WholeRecord | None":
    from bridge.cli.parked_work import opened, whole  # noqa: PLC0415  # as above

    async with opened(settings) as records:
        return await whole(records, id_)


async def _chosen(settings: "Settings", ids: list[str], sources: list[str]) -> "Chosen":
    from bridge.cli.parked_work import choose, opened  # noqa: PLC0415  # as above

    async with opened(settings) as records:
        return await choose(records, ids, sources)


async def _drop(settings: "Settings", chosen: "Chosen") -> int:
    from bridge.cli.parked_work import opened  # noqa: PLC0415  # as above

    async with opened(settings) as records:
        return sum([await records.drop(partition, page) for partition, page in chosen.pages()])


async def _retry(settings: "Settings", ids: list[str], sources: list[str], *, as_json: bool) -> int:
    from bridge.cli.parked_work import SILENT, ask_for  # noqa: PLC0415  # as above

    chosen = await _chosen(settings, ids, sources)
    for id_ in sorted(chosen.missing):
        print(f"runbridge parked retry: no parked record has the id {id_}", file=sys.stderr)
    code, asked = EX_MISSED if chosen.missing else 0, 0
    async for answer in ask_for(settings, chosen):
        asked += 1
        code = code if answer.stored else EX_TEMPFAIL if answer.detail.get("reason") == SILENT else code or EX_MISSED
        if as_json:
            print(json.dumps({"id": answer.name, "stored": answer.stored, **answer.detail}), flush=True)
        elif answer.stored:
            again = ", which the log had already" if answer.detail.get("duplicate") else ""
            print(f"{answer.name}  in the log as {printable(str(answer.detail.get('event', '')))}{again}", flush=True)
        else:
            print(f"{answer.name}  stays: {printable(str(answer.detail.get('reason', '')))}", flush=True)
    if not (asked or chosen.missing):
        print("no parked records", file=sys.stderr)
    return code


def _named(command: str, ids: list[str] | None, *, everything: bool) -> None:
    if bool(ids) == everything:
        end_usage(command, "say which: name records by id, or say --all (of one source with --source)")


def _missing(command: str, ids: frozenset[str]) -> None:
    for id_ in sorted(ids):
        print(f"runbridge {command}: no parked record has the id {id_}", file=sys.stderr)
    if ids:
        raise typer.Exit(EX_MISSED)


def _object(record: "ParkedRecord") -> dict[str, Any]:
    return {
        "id": record.name, "source": record.source, "reason": record.reason, "size": record.size,
        "time": record.time, "cursor": record.cursor,
    }  # fmt: skip


def _print_table(records: "list[ParkedRecord]") -> None:
    if not records:
        return
    terminal, columns = Terminal(), Columns(24, 8, 8, 20)
    rows = [(each.time, printable(each.source), str(each.size), each.name, printable(each.reason)) for each in records]
    for row in rows:
        for at, text in enumerate(row[:-1]):
            columns(at, text)  # as wide as the widest
    for row, styles in [(("TIME", "SOURCE", "BYTES", "ID", "REASON"), ("dim",) * 5), *((row, _STYLES) for row in rows)]:
        terminal.row(*[
            (columns(at, text) if at < len(row) - 1 else text, style)
            for at, (text, style) in enumerate(zip(row, styles, strict=True))
        ])  # fmt: skip


_STYLES = ("dim", "bold", "", "", "yellow")


def _print_whole(record: "WholeRecord") -> None:
    terminal = Terminal()
    for name, value in {**_object(record), "size": f"{record.size} bytes"}.items():
        if value:
            terminal.line((f"{name:8} ", "dim"), (printable(str(value)), "bold" if name == "id" else ""))
    print()
    text = _text(record.raw)
    if text is None:
        for at in range(0, len(record.raw), HEX_LINE):
            print(record.raw[at : at + HEX_LINE].hex(" ", 4))
        return
    for line in text.splitlines():
        print(printable(line))


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
