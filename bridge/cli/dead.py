"""`runbridge dead list | show | retry | drop`: what receivers did not take. Delivers nothing itself."""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli import dead_choice as option
from bridge.cli.at_log import at_log, end_usage, settings_of
from bridge.cli.dead_choice import Choice
from bridge.cli.ending import until_signal
from bridge.cli.options import ConfigOption
from bridge.cli.terminal import while_somebody_reads

if TYPE_CHECKING:
    from bridge.cli.dead_work import Chosen
    from bridge.redis_log.dead_letters import Done
    from bridge.settings import Settings

EX_MISSED = 1
SHOWN = 100
"""Lines of `list` for people, unless told."""


def list_letters(
    ids: option.Ids = None, *, config: ConfigOption = None, destinations: option.Destinations = None,
    types: option.Types = None, subjects: option.Subjects = None, older: option.Older = None,
    newer: option.Newer = None, statuses: option.Statuses = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Only the last so many.")] = None,
    as_json: option.JsonLines = False,
) -> None:  # fmt: skip
    r"""List dead letters, the newest last: events that a destination was given up on for.

    For people the last 100 unless --limit says otherwise, with --json all. A letter that is being retried stays in
    the list, marked so, until it is delivered; if it is given up once more it is a new letter with the new error.

    \b
      runbridge dead list -c bridge.toml
      runbridge dead list -c bridge.toml --destination crm --status 400 --newer-than 2h
      runbridge dead list -c bridge.toml --type 'ai.bctrl.run.*' --json | jq -r .event

    Exit codes: 0, 1 when an id is no dead letter's, 2 for a destination that nobody knows, 69 when Redis can't be
    reached, 78 when the configuration has mistakes.
    """
    choice = Choice.of(ids=ids, types=types, subjects=subjects, older=older, newer=newer, statuses=statuses)
    settings = settings_of(config)
    most = limit if limit or as_json else SHOWN
    with while_somebody_reads(), at_log(settings, "dead list"):
        missing = asyncio.run(until_signal(_list(settings, destinations or [], choice, most, as_json=as_json)))
        _missing("dead list", missing or frozenset())


def show(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="A letter's id, its event's or its log entry's.")],
    *, config: ConfigOption = None, destinations: option.Destinations = None, as_json: option.JsonLines = False,
) -> None:  # fmt: skip
    r"""Show dead letters in full: the event, why it was given up, and the beginning of the last answer.

    \b
      runbridge dead show 1795348800123-0 -c bridge.toml
      runbridge dead show evt_8f2 -c bridge.toml --json | jq .event.data

    Exit codes: 0, 1 when an id is no dead letter's, 2 for a destination that nobody knows, 69 when Redis can't be
    reached, 78 when the configuration has mistakes.
    """
    choice = Choice.of(ids=ids)
    settings = settings_of(config)
    with while_somebody_reads(), at_log(settings, "dead show"):
        missing = asyncio.run(until_signal(_show(settings, destinations or [], choice, as_json=as_json)))
        _missing("dead show", missing or frozenset())


def retry(
    ids: option.Ids = None, *, config: ConfigOption = None, destinations: option.Destinations = None,
    types: option.Types = None, subjects: option.Subjects = None, older: option.Older = None,
    newer: option.Newer = None, statuses: option.Statuses = None, everything: option.All = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all are delivered or given up again.")] = False,
    dry_run: option.DryRun = False, as_json: option.Json = False,
) -> None:  # fmt: skip
    r"""Have dead letters tried again, with the same webhook-id, in the order of the log within each subject.

    A running bridge takes them up within some two seconds, otherwise the next one does at its start: before what waits
    of their subjects, never beside a live event of the same subject, and with all attempts anew. A letter that is
    retried already is left as it is, so that asking twice sends once.

    \b
      runbridge dead retry 1795348800123-0 -c bridge.toml
      runbridge dead retry -c bridge.toml --destination crm --all --wait
      runbridge dead retry -c bridge.toml --subject run_123 --status 503 --older-than 2h --dry-run

    Letters of stream destinations (redis://) can't be tried again: their target refused the event as it is. Exit
    codes: 0; 1 when an id is no dead letter's, or with --wait some are dead again; 2 when nothing says which letters,
    or for a destination that can't be asked; 69 when Redis can't be reached, 78 when the configuration has mistakes.
    """
    choice = Choice.of(
        ids=ids, types=types, subjects=subjects, older=older, newer=newer, statuses=statuses, everything=everything
    )  # fmt: skip
    _named_letters("dead retry", choice)
    settings = settings_of(config)
    with at_log(settings, "dead retry"):
        code = asyncio.run(
            until_signal(_retry(settings, destinations or [], choice, wait=wait, dry_run=dry_run, as_json=as_json))
        )
    raise typer.Exit(code or 0)


def drop(
    ids: option.Ids = None, *, config: ConfigOption = None, destinations: option.Destinations = None,
    types: option.Types = None, subjects: option.Subjects = None, older: option.Older = None,
    newer: option.Newer = None, statuses: option.Statuses = None, everything: option.All = False,
    force: Annotated[bool, typer.Option("--force", help="Also those that are being retried.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    dry_run: option.DryRun = False, as_json: option.Json = False,
) -> None:  # fmt: skip
    r"""Remove dead letters for good. What is in the log itself stays there.

    Asks before it does so; where there is no terminal to ask at, --yes has to say it. One that is being retried is
    left alone without --force; with it, it is not tried any more, but for an attempt that is under way.

    \b
      runbridge dead drop 1795348800123-0 -c bridge.toml
      runbridge dead drop -c bridge.toml --destination old-crm --all --yes
      runbridge dead drop -c bridge.toml --older-than 30d --dry-run

    Exit codes: 0; 1 when an id is no dead letter's, or the answer was no; 2 when nothing says which letters, or for a
    destination that nobody knows; 69 when Redis can't be reached, 78 when the configuration has mistakes.
    """
    choice = Choice.of(
        ids=ids, types=types, subjects=subjects, older=older, newer=newer, statuses=statuses, everything=everything
    )  # fmt: skip
    _named_letters("dead drop", choice)
    if not (yes or dry_run or sys.stdin.isatty()):
        end_usage("dead drop", "there is no terminal to ask at: say --yes, or look first with --dry-run")
    settings = settings_of(config)
    with at_log(settings, "dead drop"):
        chosen = asyncio.run(until_signal(_chosen(settings, destinations or [], choice, "dead drop")))
        if chosen is None:
            return
        going = chosen.count if force else chosen.count - chosen.retrying
        if not (yes or dry_run or not going):
            typer.confirm(f"Drop {going} dead letters of {_of(chosen)} for good?", abort=True, err=True)
        done = None if dry_run else asyncio.run(until_signal(_drop(settings, chosen, force=force)))
    if dry_run or done is not None:
        _say("drop", chosen, done, going, as_json=as_json)
    _missing("dead drop", chosen.missing)


COMMANDS: dict[str, Callable[..., None]] = {"list": list_letters, "show": show, "retry": retry, "drop": drop}


async def _list(
    settings: "Settings", names: list[str], choice: Choice, limit: int | None, *, as_json: bool
) -> frozenset[str]:  # fmt: skip
    from bridge.cli.dead_lines import LetterTable, letter_object  # noqa: PLC0415  # --help should not wait for these
    from bridge.cli.dead_work import found, named, newest, opened  # noqa: PLC0415
    from bridge.clock import now  # noqa: PLC0415

    missing = choice.ids
    async with opened(settings) as letters:
        names = await named(letters, settings, names, "dead list")
        if limit is None:
            async with aclosing(found(letters, names, choice)) as every:  # type: ignore[type-var]  # a generator
                async for letter in every:
                    missing -= choice.names(letter)
                    print(json.dumps(letter_object(letter)))
            return missing
        # of letters that are named, all are looked for, and then shown up to the limit
        last = await newest(letters, names, choice, sys.maxsize if choice.ids else limit)
        total = sum([await letters.count(name) for name in names])
    missing = missing.difference(*map(choice.names, last))
    last = last[-limit:]
    if as_json:
        for letter in last:
            print(json.dumps(letter_object(letter)))
        return missing
    if last:
        table = LetterTable(now())
        table.headings()
        for letter in last:
            table(letter)
    if missing and not last:
        return missing
    if len(last) < total:
        print(f"{len(last)} of {total} dead letters; see --limit and --json", file=sys.stderr)
    elif not last:
        print("no dead letters", file=sys.stderr)
    return missing


async def _show(settings: "Settings", names: list[str], choice: Choice, *, as_json: bool) -> frozenset[str]:
    from bridge.cli.dead_lines import show_whole, whole_object  # noqa: PLC0415  # as above
    from bridge.cli.dead_work import found, named, opened  # noqa: PLC0415

    missing, first = choice.ids, True
    async with opened(settings) as letters:
        names = await named(letters, settings, names, "dead show")
        async with aclosing(found(letters, names, choice)) as those:  # type: ignore[type-var]  # a generator
            async for letter in those:
                fields = await letters.whole(letter.place)
                if not fields:  # gone in between
                    continue
                missing -= choice.names(letter)
                if as_json:
                    print(json.dumps(whole_object(letter, fields)))
                    continue
                if not first:
                    print()
                first = False
                show_whole(letter, fields)
    return missing


async def _chosen(settings: "Settings", names: list[str], choice: Choice, command: str) -> "Chosen":
    from bridge.cli.dead_work import choose, named, opened  # noqa: PLC0415  # as above

    async with opened(settings) as letters:
        return await choose(letters, await named(letters, settings, names, command), choice)


async def _drop(settings: "Settings", chosen: "Chosen", *, force: bool) -> "Done":
    from bridge.cli.dead_work import act, opened  # noqa: PLC0415  # as above

    async with opened(settings) as letters:
        return await act(chosen, "dropping", lambda page: letters.drop(page, force=force))


async def _retry(
    settings: "Settings", names: list[str], choice: Choice, *, wait: bool, dry_run: bool, as_json: bool
) -> int:  # fmt: skip
    from bridge.cli.dead_work import act, followed, marks, opened  # noqa: PLC0415  # as above

    for name in names:
        if name in settings.destinations and (problem := _not_tried(settings, name)):
            end_usage("dead retry", problem)
    chosen = await _chosen(settings, names, choice, "dead retry")
    wanted = chosen.count
    for name in dict.fromkeys(name for name, _ in chosen.streams):
        if problem := _not_tried(settings, name):
            print(f"runbridge dead retry: {problem}", file=sys.stderr)
            chosen.streams = {stream: orders for stream, orders in chosen.streams.items() if stream[0] != name}
    if wanted and not chosen.count:
        return 2
    again = None
    async with opened(settings) as letters:
        since = await marks(letters, chosen)
        done = None if dry_run else await act(chosen, "asking", letters.retry)
        _say("retry", chosen, done, chosen.count - chosen.retrying, as_json=as_json and not wait)
        if wait and not dry_run:
            again = await followed(letters, chosen, since)
            _waited(chosen, again, done, as_json=as_json)
    for id_ in sorted(chosen.missing):
        print(f"runbridge dead retry: no dead letter has the id {id_}", file=sys.stderr)
    return EX_MISSED if chosen.missing or again else 0


def _not_tried(settings: "Settings", name: str) -> str:
    """Why letters of a destination can't be tried again; "" if they can."""
    from bridge.settings import RedisDestination  # noqa: PLC0415  # as above

    if name not in settings.destinations:
        return f"{name} is no longer configured, so nobody delivers to it: configure it again, or drop its letters"
    if isinstance(settings.destinations[name], RedisDestination):
        return f"{name} is a stream destination (redis://), whose letters can't be tried again: show them, or drop them"
    return ""


def _named_letters(command: str, choice: Choice) -> None:
    if not choice.made:
        end_usage(command, "say which: name letters by id, choose by --type, --subject, --status or age, or say --all")


def _missing(command: str, ids: frozenset[str]) -> None:
    for id_ in sorted(ids):
        print(f"runbridge {command}: no dead letter has the id {id_}", file=sys.stderr)
    if ids:
        raise typer.Exit(EX_MISSED)


def _of(chosen: "Chosen") -> str:
    return ", ".join(dict.fromkeys(name for name, _ in chosen.streams)) or "no destination"


def _say(what: str, chosen: "Chosen", done: "Done | None", would: int, *, as_json: bool) -> None:
    """What was done, or would be."""
    verb = {"retry": "asked for another try of", "drop": "dropped"}[what]
    if as_json:
        print(json.dumps(_summary(what, chosen, done, would)))
        return
    if done is None:
        left = chosen.count - would
        already = f"; {left} are being retried already" + (" and stay" if what == "drop" else "") if left else ""
        print(f"would {what} {would} dead letters of {_of(chosen)}{already}", file=sys.stderr)
        return
    left, gone = done.retrying, done.gone
    more = (f"; {left} are being retried already" if left else "") + (f"; {gone} were gone" if gone else "")
    print(f"{verb} {done.done} dead letters of {_of(chosen)}{more}", file=sys.stderr)
    if what == "retry" and done.done:
        print("a running bridge takes them up within some two seconds, else the next one does", file=sys.stderr)


def _waited(chosen: "Chosen", again: int, done: "Done | None", *, as_json: bool) -> None:
    if as_json:
        found = _summary("retry", chosen, done, 0)
        print(json.dumps({**found, "delivered": chosen.count - found["gone"] - again, "dead_again": again}))
    else:
        print(f"{chosen.count - again} delivered, {again} dead again", file=sys.stderr)


def _summary(what: str, chosen: "Chosen", done: "Done | None", would: int) -> dict[str, Any]:
    return {
        "command": what, "dry_run": done is None, "chosen": chosen.count, "done": done.done if done else would,
        "retrying": done.retrying if done else chosen.count - would, "gone": done.gone if done else 0,
        "missing": sorted(chosen.missing),
    }  # fmt: skip
