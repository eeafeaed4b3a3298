"""`runbridge check`: names every mistake of a configuration, and with `--connect` tries what it points to.

Changes nothing anywhere, and shows no secret.
"""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridge.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from bridge.settings import AnyDestination, AnySource, EventsStream, Settings

EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h
EXIT_UNREACHABLE = 69  # EX_UNAVAILABLE


class ProbeResult(Protocol):
    """What trying one thing told: `target` names it as in the configuration, `detail` says more."""

    @property
    def target(self) -> str:
        """What was tried: `redis`, `accounts.bctrl`, `destinations.crm`."""

    @property
    def ok(self) -> bool:
        """Whether it answered, and took the credentials."""

    @property
    def detail(self) -> str:
        """What it said, without secrets."""


Probe = Callable[["Settings"], Coroutine[Any, Any, Sequence[ProbeResult]]]


class Row(NamedTuple):
    """One thing that is configured, for people to read."""

    what: str
    name: str
    where: str
    details: str


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found."""

    problems: tuple[Problem, ...] = ()
    rows: tuple[Row, ...] = ()
    probes: tuple[ProbeResult, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, 78 for a mistake in the configuration, or 69 where something could not be reached."""
        if self.problems:
            return EXIT_CONFIGURATION
        return 0 if all(probe.ok for probe in self.probes) else EXIT_UNREACHABLE


def check(
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="FILE", envvar="BRIDGE_CONFIG", help="The configuration file.")
    ],
    connect: Annotated[
        bool, typer.Option("--connect", help="Also try Redis, the accounts and the destinations.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    r"""Name every mistake of a configuration file, all at once, each with its key.

    With --connect it also tries Redis, asks each account's base URL and each stream without an account, and opens a
    connection to each webhook, over which it sends nothing. Changes nothing anywhere.

    \b
      runbridge check -c bridge.toml
      runbridge check -c bridge.toml --connect
      runbridge check -c bridge.toml --json | jq .problems

    Exit codes: 0 when all is well, 69 when something can't be reached, 78 when the configuration has mistakes.
    """
    report = examine(config, _probe if connect else None)
    if as_json:
        print(json.dumps(as_object(report)))
    else:
        _print(report, Console(highlight=False))
    raise typer.Exit(report.exit_code)


async def _probe(settings: "Settings") -> Sequence[ProbeResult]:
    from bridge.probe import probe  # noqa: PLC0415  # needs every adapter, which a check without --connect doesn't

    return await probe(settings)


def examine(config: Path, probe: Probe | None) -> Report:
    """Reads a configuration and, with a probe, tries it."""
    from bridge.settings import load  # noqa: PLC0415  # --help should not wait for the settings

    try:
        settings = load(config, os.environ)
    except ConfigurationError as error:
        return Report(problems=error.problems)
    probes = asyncio.run(probe(settings)) if probe else ()
    return Report(rows=tuple(_rows(settings)), probes=tuple(probes))


def as_object(report: Report) -> dict[str, object]:
    """Returns the report as JSON: `ok`, `problems`, and what is configured and was tried."""
    return {
        "ok": report.exit_code == 0,
        "problems": [{"path": problem.path, "message": problem.message} for problem in report.problems],
        "configured": [row._asdict() for row in report.rows],
        "probes": [{"target": probe.target, "ok": probe.ok, "detail": probe.detail} for probe in report.probes],
    }


def _rows(settings: "Settings") -> Iterator[Row]:
    from bridge.settings import Sse  # noqa: PLC0415  # as above
    from bridge.settings.redis_url import has_password  # noqa: PLC0415

    password = settings.redis.password or has_password(settings.redis.url.get_secret_value())
    yield Row("redis", "", settings.redis.address, f"password: {_set(password)}")
    yield Row("http", "", settings.http.listen or "off", f"token: {_set(settings.http.token)}")
    for name, account in settings.accounts.items():
        yield Row("account", name, account.base_url, f"{account.provider}, api_key: set")
    for name, source in settings.sources.items():
        access = f"headers: {len(source.headers)} set" if isinstance(source, Sse) else f"account: {source.account}"
        yield Row("source", name, _selected(source), f"{source.kind}, {access}")
    for name, destination in settings.destinations.items():
        yield Row("destination", name, destination.address, f"{_form(destination)}, {_wanted(destination)}")


def _set(secret: object) -> str:
    return "set" if secret else "not set"


def _selected(source: "AnySource") -> str:
    from bridge import settings as kinds  # noqa: PLC0415  # as above
    from bridge.settings.addresses import short_url  # noqa: PLC0415

    match source:
        case kinds.RunEventsStream() | kinds.RunEventsWait() | kinds.RunStream():
            return f"run {source.run}"
        case kinds.OperationWait():
            return f"operation {source.operation}"
        case kinds.InvocationWait():
            return f"invocation {source.invocation}"
        case kinds.EventWait():
            return f"event {source.event}"
        case kinds.EventsStream():
            return " ".join(["the whole account", *_filters(source)])
        case kinds.Sse():
            return short_url(source.url)


def _form(destination: "AnyDestination") -> str:
    from bridge.settings import RedisDestination  # noqa: PLC0415  # as above

    if isinstance(destination, RedisDestination):
        return f"stream: {destination.stream}"
    headers = f", headers: {len(destination.headers)} set" if destination.headers else ""
    return f"{destination.format}, secrets: {len(destination.secrets)} set{headers}"


def _wanted(destination: "AnyDestination") -> str:
    """What reaches a destination: `types: a, b`, and whatever else narrows it."""
    parts = {"types": ", ".join(destination.types) or "all", "subjects": ", ".join(destination.subjects)}
    parts |= {"sources": ", ".join(destination.sources), "filter": destination.filter}
    return ", ".join(f"{name}: {value}" for name, value in parts.items() if value)


_FILTERS = (
    "space", "subaccount", "browser", "sandbox", "run", "task", "conversation", "agent", "actor", "actor_type",
    "category", "type", "channel", "outcome", "to",
)  # fmt: skip


def _filters(source: "EventsStream") -> Iterator[str]:
    """Every filter that is set, under the name that it has in the file: `agent=a type=x,y`."""
    for field in _FILTERS:
        value = getattr(source, field)
        if value:
            name = type(source).model_fields[field].alias or field
            yield f"{name}={value if isinstance(value, str) else ','.join(value)}"


def _print(report: Report, console: Console) -> None:
    for problem in report.problems:
        _line(str(problem), console)
    if report.rows:
        _print_rows(report.rows, console)
    for probe in report.probes:
        _line(f"{probe.target}: {'ok' if probe.ok else 'FAILED'}, {probe.detail}", console)
    if report.exit_code == 0:
        _line("ok", console)


def _line(text: str, console: Console) -> None:
    console.print(Text(text), soft_wrap=True)  # one line stays one line, for grep and for editors


def _print_rows(rows: tuple[Row, ...], console: Console) -> None:
    if console.is_terminal:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for title in ("", "name", "where", "details"):
            table.add_column(title, overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
        return
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _line(line.rstrip(), console)
