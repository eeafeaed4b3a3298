"""`runbridge sources list | show | add | change | pause | resume | remove | watch`. The running bridge does it all."""

from collections.abc import Callable
from typing import Annotated, Literal

import typer

from bridge import commands
from bridge.cli.asking import WAIT, JsonOption, WaitOption, YesOption, ask, confirmed, one_of, planned
from bridge.cli.at_log import end_usage, settings_of
from bridge.cli.completion import added_source_ids, every_source_id
from bridge.cli.event_line import printable
from bridge.cli.options import ConfigOption
from bridge.cli.spec import FileOption, SetOption, Unreadable, UnsetOption, spec_of
from bridge.commands import Done

Id = Annotated[
    str, typer.Argument(metavar="ID", help="The source's id.", autocompletion=every_source_id)
]  # fmt: skip
AddedId = Annotated[
    str, typer.Argument(metavar="ID", help="The source's id.", autocompletion=added_source_ids)
]  # fmt: skip
NewId = Annotated[str, typer.Argument(metavar="ID", help="What to call the source.")]
Account = Annotated[str, typer.Option("--account", help="An account's NAME in the configuration.")]
KIND = Annotated[str, typer.Option("--kind", help="The upstream call, such as bctrl.run-events.stream.")]
RUN = Annotated[str, typer.Option("--run", help="The run's id.")]
EVENT = Annotated[str, typer.Option("--event", help="The event's name (anchor.event.wait).")]
URL = Annotated[str, typer.Option("--url", help="Where the stream is (sse).")]
FROM = Annotated[str, typer.Option("--from", help="Where the first start begins: upstream, start or now.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line, one a source.")]
RunKind = Literal["bctrl.run-events.stream", "bctrl.run-events.wait", "bctrl.run.stream"]


def list_sources(*, config: ConfigOption = None, as_json: JsonLines = False) -> None:
    r"""List all sources, of the file and added while running; those that need attention first.

    \b
      runbridge sources list -c bridge.toml
      runbridge sources list -c bridge.toml --json | jq -r 'select(.state == "failed") | .id'

    Asks the running bridge; where none answers, it shows what Redis has, and says so. Exit codes: 0, 69 when Redis
    can't be reached, 78 when the configuration has mistakes.
    """
    from bridge.cli import shown  # noqa: PLC0415  # --help should not wait for the whole bridge

    shown.list_sources(settings_of(config), as_json=as_json)


def show(id_: Id, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    r"""Show one source: how it stands, and how it is defined, without secrets.

    \b
      runbridge sources show checkout -c bridge.toml

    Exit codes: 0, 2 when there is none of this id, 69 when Redis can't be reached, 78 when the configuration has
    mistakes.
    """
    from bridge.cli import shown  # noqa: PLC0415  # as above

    shown.show(settings_of(config), "sources", id_, as_json=as_json)


def add(
    id_: NewId, *, config: ConfigOption = None, account: Account = "", kind: KIND = "", run: RUN = "",
    event: EVENT = "", url: URL = "", begin: FROM = "", pairs: SetOption = None, file: FileOption = None,
    wait: WaitOption = WAIT, as_json: JsonOption = False,
) -> None:  # fmt: skip
    r"""Add a source to the running bridge, which keeps it over restarts; the configuration file stays as it is.

    Keys are those of `[sources.NAME]` in the configuration. The same again changes nothing; another one of that id is
    refused. Keys that name files are for the configuration file alone.

    \b
      runbridge sources add checkout --account bctrl --kind bctrl.run-events.stream --run 0b0c4d1e -c bridge.toml
      runbridge sources add news --kind sse --url https://example.com/stream --set id_pointer=/id -c bridge.toml
      runbridge sources add otp --file otp.toml -c bridge.toml

    Works wherever Redis can be reached. Exit codes: 0; 2 when it is refused, with every mistake and its key; 69 when
    Redis can't be reached; 75 when no bridge answered, and one does it when it runs; 78 when the configuration has
    mistakes.
    """
    named = {"account": account, "kind": kind, "run": run, "event": event, "url": url, "from": begin}
    try:
        spec = spec_of(file, named, pairs or ())
    except Unreadable as problem:
        end_usage("sources add", str(problem))
    said = one_of("added", "is there already, the same")
    ask(settings_of(config), "sources add", commands.AddSource(id_, spec), said, wait=wait, as_json=as_json)


def change(
    id_: AddedId, *, config: ConfigOption = None, pairs: SetOption = None, unset: UnsetOption = None,
    file: FileOption = None, wait: WaitOption = WAIT, as_json: JsonOption = False,
) -> None:  # fmt: skip
    r"""Change keys of a source that was added while running; --file gives it all keys anew.

    It goes on at its cursor where that still fits.

    \b
      runbridge sources change checkout --set idle_timeout=30s --unset connection -c bridge.toml
      runbridge sources change checkout --file checkout.toml -c bridge.toml

    Exit codes: as of `sources add`; 2 also for a source of the configuration file, which is changed there.
    """
    if not (pairs or unset or file):
        end_usage("sources change", "nothing says what to change: use --set, --unset or --file")
    if file and unset:
        end_usage("sources change", "--file gives all keys: leave those away there, and --unset here")
    try:
        spec = spec_of(file, {}, pairs or (), unset or ())
    except Unreadable as problem:
        end_usage("sources change", str(problem))
    command = commands.ChangeSource(id_, spec, patch=not file)
    said = one_of("changed", "is so already")
    ask(settings_of(config), "sources change", command, said, wait=wait, as_json=as_json)


def pause(id_: Id, *, config: ConfigOption = None, wait: WaitOption = WAIT, as_json: JsonOption = False) -> None:
    r"""Read nothing from a source until it is resumed, over restarts too.

    \b
      runbridge sources pause checkout -c bridge.toml

    What the upstream keeps meanwhile is read then; what it doesn't is missed. Exit codes: as of `sources add`.
    """
    said = one_of("paused", "is paused already")
    ask(settings_of(config), "sources pause", commands.PauseSource(id_), said, wait=wait, as_json=as_json)


def resume(id_: Id, *, config: ConfigOption = None, wait: WaitOption = WAIT, as_json: JsonOption = False) -> None:
    r"""Read from a paused source again; have a failed one looked at at once.

    \b
      runbridge sources resume checkout -c bridge.toml

    Exit codes: as of `sources add`.
    """
    said = one_of("resumed", "is neither paused nor failed: there is nothing to resume")
    ask(settings_of(config), "sources resume", commands.ResumeSource(id_), said, wait=wait, as_json=as_json)


def remove(
    id_: AddedId, *, config: ConfigOption = None,
    forget: Annotated[bool, typer.Option("--forget", help="Its cursor, and what it remembers, goes too.")] = False,
    yes: YesOption = False, wait: WaitOption = WAIT, as_json: JsonOption = False,
) -> None:  # fmt: skip
    r"""Remove a source that was added while running. Its events stay in the log.

    Its cursor stays too, so that adding it again goes on there, unless --forget.

    \b
      runbridge sources remove checkout -c bridge.toml
      runbridge sources remove checkout --forget --yes -c bridge.toml

    Exit codes: 1 when the answer was no, otherwise as of `sources add`.
    """
    settings = settings_of(config)
    command = commands.RemoveSource(id_, forget)
    if not yes:
        planned(settings, "sources remove", command, as_json=as_json)
    confirmed("sources remove", f"Remove source {printable(id_)}{' and its cursor' if forget else ''}?", yes=yes)
    said = one_of("removed", "is not there")
    ask(settings, "sources remove", command, said, wait=wait, as_json=as_json)


def watch(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The id of a bctrl run.")],
    *, config: ConfigOption = None, account: Account = "",
    id_: Annotated[str, typer.Option("--id", help="What to call the source; run-RUN unless told.")] = "",
    kind: Annotated[RunKind, typer.Option("--kind", help="The upstream call.")] = "bctrl.run-events.stream",
    keep: Annotated[str, typer.Option("--keep", metavar="SPAN", help="How long it stays after the run's end.")] = "1h",
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="FILE",
            help="A webhook for this run's events: its keys, as of `destinations add --file`; - for standard input.",
        ),
    ] = None,
    wait: WaitOption = WAIT, as_json: JsonOption = False,
) -> None:  # fmt: skip
    r"""Watch one bctrl run from its beginning to its end, and forget about it some time after that.

    The account may be left out where there is one of bctrl's only.

    \b
      runbridge sources watch 0b0c4d1e -c bridge.toml
      runbridge sources watch 0b0c4d1e --keep 10m --to webhook.toml -c bridge.toml

    Exit codes: as of `sources add`.
    """
    try:
        destination = spec_of(to, {}, ()) if to else None
    except Unreadable as problem:
        end_usage("sources watch", str(problem))
    command = commands.WatchRun(run, account, id_, kind, destination, keep)
    ask(settings_of(config), "sources watch", command, _watched, wait=wait, as_json=as_json)


def _watched(done: Done) -> str:
    already = "" if done.changed else " already"
    return f"the run is watched{already} by source {printable(done.id)}"


COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_sources, "show": show, "add": add, "change": change, "pause": pause, "resume": resume,
    "remove": remove, "watch": watch,
}  # fmt: skip
