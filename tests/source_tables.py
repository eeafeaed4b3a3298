"""Configurations that are made of source tables: one of every kind, and what loads or is wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import ConfigurationError
from bridge.settings import Settings, load

ACCOUNTS = '[accounts.a]\nprovider = "bctrl"\napi_key = "k"\n[accounts.n]\nprovider = "anchor"\napi_key = "k"\n'
OTHER = '[accounts.b]\nprovider = "bctrl"\napi_key = "k"\n'
STREAM = 'account = "a"\nkind = "bctrl.run-events.stream"\nrun = "r"\n'
WAIT = 'account = "a"\nkind = "bctrl.run-events.wait"\nrun = "r"\n'
OPERATION = 'account = "a"\nkind = "bctrl.operation.wait"\noperation = "o"\n'
INVOCATION = 'account = "a"\nkind = "bctrl.invocation.wait"\ninvocation = "i"\n'
RUN = 'account = "a"\nkind = "bctrl.run.stream"\nrun = "r"\n'
EVENTS = 'account = "a"\nkind = "bctrl.events.stream"\n'
EVENT = 'account = "n"\nkind = "anchor.event.wait"\nevent = "e"\n'
SSE = 'kind = "sse"\nurl = "https://h.example/s"\n'
KINDS = (STREAM, WAIT, OPERATION, INVOCATION, RUN, EVENTS, EVENT, SSE)
SECRET = "Bearer sk-TELLTALE0secret0"


def read(directory: Path, *sources: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Loads a configuration with these sources, called s0, s1 and so on."""
    file = directory / "bridge.toml"
    tables = "".join(f"[sources.s{at}]\n{source}\n" for at, source in enumerate(sources))
    file.write_text(f"{ACCOUNTS}{tables}")
    return load(file, environ or {})


def only(directory: Path, source: str, environ: Mapping[str, str] | None = None) -> Any:
    """The one source of a configuration."""
    return read(directory, source, environ=environ).sources["s0"]


def mistakes(directory: Path, *sources: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What is wrong with these sources: messages by key path."""
    with pytest.raises(ConfigurationError) as caught:
        read(directory, *sources, environ=environ)
    assert SECRET not in f"{caught.value}{caught.value!r}"
    return {problem.path: problem.message for problem in caught.value.problems}
