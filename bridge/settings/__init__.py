"""Reads file and environment, once, into frozen values. Refuses a configuration with any mistake in it.

`load` is all there is to call; `schema`, `sources` and `destinations` have the keys, `python -m bridge.settings`
prints their reference.
"""

import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bridge.errors import ConfigurationError, Problem
from bridge.settings import certificates, environment, files, problems, rules, shape
from bridge.settings.destinations import AnyDestination, Destination, Exponential, RedisDestination, WebhookDestination
from bridge.settings.schema import (
    Account,
    AnchorAccount,
    AnyAccount,
    BctrlAccount,
    Http,
    Log,
    Logging,
    Redis,
    Settings,
)
from bridge.settings.shape import Finding
from bridge.settings.sources import (
    AccountSource,
    AnySource,
    EventsStream,
    EventWait,
    InvocationWait,
    OperationWait,
    RunEventsStream,
    RunEventsWait,
    RunStream,
    Source,
    Sse,
)

__all__ = [
    "Account",
    "AccountSource",
    "AnchorAccount",
    "AnyAccount",
    "AnyDestination",
    "AnySource",
    "BctrlAccount",
    "Destination",
    "EventWait",
    "EventsStream",
    "Exponential",
    "Http",
    "InvocationWait",
    "Log",
    "Logging",
    "OperationWait",
    "Redis",
    "RedisDestination",
    "RunEventsStream",
    "RunEventsWait",
    "RunStream",
    "Settings",
    "Source",
    "Sse",
    "WebhookDestination",
    "load",
]


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Reads a TOML file, and the BRIDGE_ variables of `environ` over it.

    Without a file the environment is all there is. Relative paths in either start at the file's directory
    (without a file, at the current one). Files with secrets are read here and now.

    Raises:
        ConfigurationError: every problem found, each at its key path. Carries no value of the configuration and
            no other exception, since either may hold a secret.
    """
    tables = files.document(path) if path else {}
    base = path.absolute().parent if path else Path.cwd()
    overlay = environment.overlay(environ, tables)
    overlay.over(tables)
    files.resolve_paths(tables, base)
    found = [*overlay.findings, *_unknown(tables), *rules.findings(tables), *files.read_secrets(tables, base)]
    found += certificates.findings(tables)
    settings, refused = _validated(tables)
    found += refused
    if settings is None or found:
        raise ConfigurationError(_problems(found, overlay.variables))
    return settings


def _unknown(tables: dict[str, Any]) -> list[Finding]:
    """Takes the unknown top-level keys out: pydantic-settings has arguments of its own beside our keys."""
    known = shape.keys(Settings)
    unknown = [key for key in tables if key not in known]
    for key in unknown:
        del tables[key]
    return [Finding((key,), shape.unknown_key(key, known)) for key in unknown]


def _validated(tables: dict[str, Any]) -> tuple[Settings | None, list[Finding]]:
    if tables.get("instance", "") == "":
        tables["instance"] = _host_name()
    try:
        return Settings(**tables), []
    except ValidationError as error:
        return None, list(problems.findings(error, tables))


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9._:-]", "-", socket.gethostname())[:128] or "runbridge"


def _problems(found: Iterable[Finding], variables: Mapping[shape.Path, str]) -> tuple[Problem, ...]:
    """One problem a path, in the order of the sections; names the variable that a wrong value came from."""
    messages: dict[shape.Path, str] = {}
    for finding in found:
        messages.setdefault(finding.path, finding.message)
    sections = list(shape.keys(Settings))

    def place(path: shape.Path) -> tuple[int, str]:
        return (sections.index(str(path[0])) if path and path[0] in sections else -1, shape.written(path))

    return tuple(
        Problem(shape.written(path), messages[path] + _origin(path, variables)) for path in sorted(messages, key=place)
    )


def _origin(path: shape.Path, variables: Mapping[shape.Path, str]) -> str:
    variable = variables.get(path) or variables.get(path[:-1])
    return f" (set by {shape.one_line(variable)})" if variable else ""
