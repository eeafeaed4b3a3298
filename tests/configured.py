"""Configuration files for tests: written beside the secrets that they name, and what is wrong with them."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bridge.cli.check import check
from bridge.errors import ConfigurationError
from bridge.settings import load

HOUSE = Path(__file__).parent.parent
SECRET = "whsec_" + "c2VjcmV0" * 4
KEYS = {"bctrl": "key-one\n", "anchor": "key-two\r\n", "crm": f"{SECRET}\n"}
ACCOUNT = '[accounts.a]\nprovider = "bctrl"\napi_key = "k"\n'
SOURCE = '[sources.s]\naccount = "a"\nkind = "bctrl.run-events.stream"\nrun = "r"\n'

runner = CliRunner()
app = typer.Typer()
app.command()(check)


def written(directory: Path, toml: str) -> Path:
    """A configuration file with this text, and the secrets' files of the shipped one beside it."""
    (directory / "secrets").mkdir(exist_ok=True)
    for name, text in KEYS.items():
        (directory / "secrets" / name).write_bytes(text.encode())
    file = directory / "bridge.toml"
    file.write_text(toml)
    return file


def mistakes(file: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with a configuration: messages by key path."""
    with pytest.raises(ConfigurationError) as caught:
        load(file, environ)
    return {problem.path: problem.message for problem in caught.value.problems}
