"""`runbridge destinations list | show | add | change | pause | resume | remove | test`. The running bridge does it."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from bridge import commands
from bridge.cli.asking import EX_REFUSED, WAIT, JsonOption, WaitOption, YesOption, ask, confirmed, one_of, planned
from bridge.cli.at_log import end_usage, settings_of
from bridge.cli.completion import added_destination_ids, every_destination_id
from bridge.cli.event_line import printable
from bridge.cli.options import ConfigOption
from bridge.cli.spec import FileOption, SetOption, Unreadable, UnsetOption, secret_in, spec_of
from bridge.commands import Done
from bridge.signing import text_of

EX_FAILED = 1
TEST_WAIT = 30.0
"""Seconds for a test, unless told: an attempt may take 15, unless configured otherwise."""

Id = Annotated[
    str, typer.Argument(metavar="NAME", help="The destination's name.", autocompletion=every_destination_id)
]  # fmt: skip
AddedId = Annotated[
    str, typer.Argument(metavar="NAME", help="The destination's name.", autocompletion=added_destination_ids)
]  # fmt: skip
NewId = Annotated[str, typer.Argument(metavar="NAME", help="What to call the destination.")]
Url = Annotated[str, typer.Option("--url", help="https:// for a webhook, redis:// for streams.")]
Secrets = Annotated[
    list[str] | None,
    typer.Option("--secret", metavar="WHSEC", help="A secret that signs; others may see it: better a file."),
]
SecretFiles = Annotated[
    list[str] | None,
    typer.Option("--secret-file", metavar="FILE", help="A file with a secret, read here and now; - for input."),
]
NewSecret = Annotated[bool, typer.Option("--new-secret", help="Make a secret, and print it this once.")]
Types = Annotated[list[str] | None, typer.Option("--type", metavar="GLOB", help="Only such types; may be repeated.")]
Subjects = Annotated[
    list[str] | None, typer.Option("--subject", metavar="GLOB", help="Only such subjects; may be repeated.")
]
FROM = Annotated[str, typer.Option("--from", help="Where it begins in the log: start, now or a time.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line, one a destination.")]


def list_destinations(*, config: ConfigOption = None, as_json: JsonLines = False) -> None:
    r"""List the destinations: state, how far behind, what waits, dead letters.

    A destination is active; probing, where most attempts failed of late and one at a time is made until one is
    delivered; disabled, where nothing is sent until somebody resumes it; paused, as somebody asked; fenced, where
    another process delivers to it; or unusable, where its keys don't fit the configuration any more. BEHIND counts
    entries of the log that it has not looked at, TAKEN UP those that it has and that are neither settled nor waiting;
    it reads ahead, so they are more than are under way. WAITING counts subjects (in format "batched" batches) whose
    first event is tried again later, and in brackets the events that wait in them, at least; NEXT says when the next
    of them is due. Those that are no longer configured but have dead letters are listed too.

    \b
      runbridge destinations list -c bridge.toml
      runbridge destinations list -c bridge.toml --json | jq 'select(.state != "active")'

    Exit codes: 0, 69 when Redis can't be reached, 78 when the configuration has mistakes.
    """
    from bridge.cli import destination_list  # noqa: PLC0415  # --help should not wait for the whole bridge

    destination_list.show(settings_of(config), as_json=as_json)


def show(name: Id, *, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    r"""Show one destination: how it stands, and how it is defined, without secrets.

    \b
      runbridge destinations show crm -c bridge.toml

    Exit codes: 0, 2 when there is none of this name, 69 when Redis can't be reached, 78 when the configuration has
    mistakes.
    """
    from bridge.cli import shown  # noqa: PLC0415  # as above

    shown.show(settings_of(config), "destinations", name, as_json=as_json)


def add(
    name: NewId, *, config: ConfigOption = None, url: Url = "", given: Secrets = None, files: SecretFiles = None,
    new_secret: NewSecret = False, types: Types = None, subjects: Subjects = None, begin: FROM = "",
    pairs: SetOption = None, file: FileOption = None, wait: WaitOption = WAIT, as_json: JsonOption = False,
) -> None:  # fmt: skip
    r"""Add a destination to the running bridge, which keeps it over restarts; the configuration file stays as it is.

    Keys are those of `[destinations.NAME]` in the configuration. The same again changes nothing; another one of that
    name is refused. Keys that name files are for the configuration file alone; --secret-file is read here.

    \b
      runbridge destinations add crm --url https://crm.example/hook --new-secret -c bridge.toml
      runbridge destinations add ops --url https://ops.example/ --secret-file ops.secret --type 'ai.bctrl.run.*'
      runbridge destinations add copy --url redis://cache:6379 --set 'stream=runs:{subject}' -c bridge.toml

    A secret that is made here is printed on standard output, alone; nothing shows it again. Works wherever Redis can be
    reached. Exit codes: 0; 2 when it is refused, with every mistake and its key; 69 when Redis can't be reached; 75
    when no bridge answered, and one does it when it runs; 78 when the configuration has mistakes.
    """
    fresh = text_of(secrets.token_bytes(32)) if new_secret else ""
    named = {"url": url, "types": types, "subjects": subjects, "from": begin}
    try:
        spec = spec_of(file, {**named, "secrets": _secrets(given, files, fresh)}, pairs or ())
    except Unreadable as problem:
        end_usage("destinations add", str(problem))
    said = one_of("added", "is there already, the same")
    with _shown(fresh, as_json=as_json) as also:
        ask(
            settings_of(config), "destinations add", commands.AddDestination(name, spec), said,
            wait=wait, as_json=as_json, also=also,
        )  # fmt: skip


def change(
    name: AddedId, *, config: ConfigOption = None, url: Url = "", given: Secrets = None, files: SecretFiles = None,
    new_secret: NewSecret = False, pairs: SetOption = None, unset: UnsetOption = None, file: FileOption = None,
    wait: WaitOption = WAIT, as_json: JsonOption = False,
) -> None:  # fmt: skip
    r"""Change keys of a destination that was added while running; --file gives it all keys anew.

    It goes on where it was, with what waits. Secrets that are given take the place of all it had.

    \b
      runbridge destinations change crm --url https://crm.example/v2/hook -c bridge.toml
      runbridge destinations change crm --set 'types=["ai.bctrl.run.*"]' --unset filter -c bridge.toml

    Exit codes: as of `destinations add`; 2 also for a destination of the configuration file, which is changed there.
    """
    if not (url or given or files or new_secret or pairs or unset or file):
        end_usage("destinations change", "nothing says what to change: use --set, --unset or --file")
    if file and unset:
        end_usage("destinations change", "--file gives all keys: leave those away there, and --unset here")
    fresh = text_of(secrets.token_bytes(32)) if new_secret else ""
    try:
        named = {"url": url, "secrets": _secrets(given, files, fresh)}
        spec = spec_of(file, named, pairs or (), unset or ())
    except Unreadable as problem:
        end_usage("destinations change", str(problem))
    said = one_of("changed", "is so already")
    with _shown(fresh, as_json=as_json) as also:
        ask(
            settings_of(config), "destinations change", commands.ChangeDestination(name, spec, patch=not file), said,
            wait=wait, as_json=as_json, also=also,
        )  # fmt: skip


def pause(name: Id, *, config: ConfigOption = None, wait: WaitOption = WAIT, as_json: JsonOption = False) -> None:
    r"""Deliver nothing to a destination until it is resumed, over restarts too; what comes meanwhile waits.

    \b
      runbridge destinations pause crm -c bridge.toml

    The log keeps an event for `log.retention` at most, and what is older is missed. Exit codes: as of
    `destinations add`.
    """
    said = one_of("paused", "is paused already")
    ask(
        settings_of(config), "destinations pause", commands.PauseDestination(name), said, wait=wait, as_json=as_json
    )  # fmt: skip


def resume(name: Id, *, config: ConfigOption = None, wait: WaitOption = WAIT, as_json: JsonOption = False) -> None:
    r"""Have a paused or disabled destination delivered to again; what waits for it goes out in its order.

    Mend the receiver of a disabled one first: one that answers 410 disables its destination at once, and one that
    fails is probed. Nothing was dropped while it was disabled.

    \b
      runbridge destinations resume crm -c bridge.toml

    Exit codes: as of `destinations add`.
    """
    said = one_of("resumed", "is neither paused nor disabled: there is nothing to resume")
    ask(
        settings_of(config), "destinations resume", commands.ResumeDestination(name), said, wait=wait, as_json=as_json
    )  # fmt: skip


def remove(
    name: AddedId, *, config: ConfigOption = None,
    forget: Annotated[bool, typer.Option("--forget", help="Its place in the log, and what waits, goes too.")] = False,
    yes: YesOption = False, wait: WaitOption = WAIT, as_json: JsonOption = False,
) -> None:  # fmt: skip
    r"""Remove a destination that was added while running. Its dead letters stay.

    Its place in the log stays too, so that adding it again goes on there, unless --forget, which drops what waits.

    \b
      runbridge destinations remove crm -c bridge.toml
      runbridge destinations remove crm --forget --yes -c bridge.toml

    Exit codes: 1 when the answer was no, otherwise as of `destinations add`.
    """
    settings = settings_of(config)
    command = commands.RemoveDestination(name, forget)
    waits = " and drop what waits for it" if forget else ""
    if not yes:
        planned(settings, "destinations remove", command, as_json=as_json)
    confirmed("destinations remove", f"Remove destination {printable(name)}{waits}?", yes=yes)
    said = one_of("removed", "is not there")
    ask(settings, "destinations remove", command, said, wait=wait, as_json=as_json)


def send_test(
    name: Id, *, config: ConfigOption = None, wait: WaitOption = TEST_WAIT, as_json: JsonOption = False
) -> None:
    r"""Send one signed event of type dev.runbridge.test to a webhook, and tell what it answered.

    The event is not in the log, and the answer counts for nothing.

    \b
      runbridge destinations test crm -c bridge.toml

    Exit codes: 1 when it was not delivered, otherwise as of `destinations add`.
    """
    done = ask(
        settings_of(config), "destinations test", commands.TestDestination(name), _tested, wait=wait, as_json=as_json
    )  # fmt: skip
    if done.detail.get("outcome") != "delivered":
        raise typer.Exit(EX_FAILED)


COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_destinations, "show": show, "add": add, "change": change, "pause": pause, "resume": resume,
    "remove": remove, "test": send_test,
}  # fmt: skip


def _secrets(given: list[str] | None, files: list[str] | None, fresh: str) -> list[str]:
    return [*(given or ()), *map(secret_in, files or ()), *([fresh] if fresh else [])]


@contextlib.contextmanager
def _shown(secret: str, *, as_json: bool) -> Iterator[dict[str, str]]:
    """Shows a new secret unless the command is refused: one that nobody answered may be done yet."""
    try:
        yield {"secret": secret} if secret else {}
    except typer.Exit as end:
        if secret and not as_json and end.exit_code != EX_REFUSED:
            print(secret)
        raise
    if secret and not as_json:
        print(secret)


def _tested(done: Done) -> str:
    told = done.detail
    answered = "no answer" if told.get("status") is None else f"answered {told['status']}"
    why = f": {printable(str(told['error']))}" if told.get("error") else ""
    return f"{printable(done.id)} {told.get('outcome')}, {answered}, {told.get('seconds')} s{why}"
