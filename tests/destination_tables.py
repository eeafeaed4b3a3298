"""Configurations with one destination: what loads, and what is wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import ConfigurationError
from bridge.settings import Settings, load

SECRET = "whsec_" + "c2VjcmV0" * 4
TELLTALE = "sk-TELLTALE0secret0"
HOOK = {"url": '"https://crm.example/hooks"', "secrets": f'["{SECRET}"]'}
STREAM = {"url": '"redis://h:6380/1"', "stream": '"runs:{subject}"'}


def read(
    directory: Path, text: str, base: Mapping[str, str] = HOOK, environ: Mapping[str, str] | None = None
) -> Settings:
    """Loads a configuration with the destination `d`; lines of `text` stand for the keys of `base` that they set."""
    given = {line.partition("=")[0].strip().partition(".")[0] for line in text.splitlines()}
    lines = [f"{key} = {value}" for key, value in base.items() if key not in given]
    file = directory / "bridge.toml"
    file.write_text("\n".join(["[destinations.d]", *lines, text, ""]))
    return load(file, environ or {})


def only(directory: Path, text: str, base: Mapping[str, str] = HOOK, environ: Mapping[str, str] | None = None) -> Any:
    """The destination `d`."""
    return read(directory, text, base, environ).destinations["d"]


def mistakes(
    directory: Path, text: str, base: Mapping[str, str] = HOOK, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What is wrong: messages by key path, which show neither a secret nor the library's own words."""
    with pytest.raises(ConfigurationError) as caught:
        read(directory, text, base, environ)
    said = f"{caught.value}{caught.value!r}"
    assert TELLTALE not in said
    assert SECRET not in said
    assert not any(word in said.lower() for word in ("pydantic", "validation"))
    assert "\n" not in "".join(problem.message for problem in caught.value.problems)
    return {problem.path: problem.message for problem in caught.value.problems}
