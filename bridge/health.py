"""Asks a running bridge whether it is well, for probes that can't speak HTTP. Imports nothing but the standard library.

A container's health check runs it every few seconds: with the whole settings it would cost more than an idle bridge.
So it reads `http.listen` alone, and refuses to judge the rest of the configuration.
"""

import contextlib
import json
import os
import sys
import tomllib
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path

DEFAULT_LISTEN = "127.0.0.1:8380"
TIMEOUT = 4.0
"""Seconds for the connection, and for each read of the answer: below the five that the image gives the probe."""
LARGEST_ANSWER = 64 << 10
LONGEST_LINE = 2000

_ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where to ask, not to listen
_OFF = 'health can\'t be asked for: http.listen is "", so the bridge listens nowhere'


class NotWell(Exception):  # a sentence on its way to whoever asked, never seen outside
    """Why the bridge is not known to be well."""


def ask(config: Path | None, environ: Mapping[str, str], page: str, timeout: float = TIMEOUT) -> str:
    """What `/livez` or `/readyz` of the bridge with this configuration says, in one line, when that is good.

    Raises:
        NotWell: the answer is another one than 200, there is none within the time, or there is nowhere to ask.
    """
    host, port = _address(_listen(config, environ))
    connection = HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        body = answer.read(LARGEST_ANSWER)
    except (OSError, HTTPException) as error:
        raise NotWell(f"no answer from {host}:{port}: {str(error) or type(error).__name__}") from None
    finally:
        connection.close()
    said = _said(body, f"{answer.status} {answer.reason}")
    if answer.status != 200:
        raise NotWell(said)
    return said


def _listen(config: Path | None, environ: Mapping[str, str]) -> str:
    """`http.listen`, of the environment first, as the settings read it."""
    for name, value in environ.items():
        if name.upper() == "BRIDGE_HTTP__LISTEN":
            return value
    if config is None:
        return DEFAULT_LISTEN
    try:
        http = tomllib.loads(config.read_text("utf-8-sig")).get("http", {})
    except (OSError, ValueError, RecursionError) as error:
        raise NotWell(
            f"the configuration {config} can't be read: {type(error).__name__}; see `runbridge check`"
        ) from None
    return str(http.get("listen", DEFAULT_LISTEN)) if isinstance(http, dict) else DEFAULT_LISTEN


def _address(listen: str) -> tuple[str, int]:
    if not listen.strip():
        raise NotWell(_OFF)
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise NotWell("http.listen has no port that could be asked; expected host:port")
    return _ANY_ADDRESS.get(host, host), int(port)


def _said(body: bytes, otherwise: str) -> str:
    """The state and the problems of an answer; `otherwise` where it is not the bridge's."""
    line = otherwise
    with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError, AttributeError):
        answer = json.loads(body)
        problems = "; ".join(f"{name}: {text}" for name, text in answer["problems"].items())
        line = f"{answer['status']}: {problems}" if problems else str(answer["status"])
    return "".join(letter if letter.isprintable() else " " for letter in line)[:LONGEST_LINE]


def probe(*, ready: bool) -> int:
    """As `told`, for the file that BRIDGE_CONFIG names, if any."""
    named = os.environ.get("BRIDGE_CONFIG")
    return told(Path(named) if named else None, ready=ready)


def told(config: Path | None, *, ready: bool) -> int:
    """Print the line, and return the exit code: 0 for well, 1 for anything else."""
    try:
        print(ask(config, os.environ, "/readyz" if ready else "/livez"))  # noqa: T201  # what the command is for
    except NotWell as reason:
        print(f"runbridge: {reason}", file=sys.stderr)  # noqa: T201  # likewise
        return 1
    return 0
