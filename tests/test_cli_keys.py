"""Holds `runbridge keys` to what it makes, to where it puts it, and to saying a secret to nobody else."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bridge.cli import app
from bridge.signing import PrivateKey, signing_key


def keys(*arguments: str) -> Result:
    """The command's end."""
    return CliRunner().invoke(app, ["keys", *arguments])


def lines(*arguments: str) -> list[str]:
    """What it prints when all is well."""
    result = keys(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_a_secret_is_new_each_time() -> None:
    """One line that the configuration takes: whsec_ and 32 bytes, never the same."""
    made = [secret for _ in range(3) for secret in lines()]
    assert len(set(made)) == 3
    assert {len(key) for secret in made if isinstance(key := signing_key(secret), bytes)} == {32}


@pytest.mark.parametrize("option", ["--ed25519", "--asymmetric"])
def test_a_pair_belongs_together(option: str) -> None:
    """Two lines: the whsk_ secret, of 64 bytes, and its public key."""
    secret, public = lines(option)
    key = signing_key(secret)
    assert isinstance(key, PrivateKey)
    assert len(key.pair) == 64
    assert public == str(key.public)


def test_json_has_the_same() -> None:
    """One object, with names."""
    shown = json.loads("".join(lines("--ed25519", "--json")))
    assert str(signing_key(shown["secret"]).public) == shown["public"]  # type: ignore[union-attr]
    assert list(json.loads("".join(lines("--json")))) == ["secret"]


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o022])
def test_a_file_is_for_its_owner(tmp_path: Path, mask: int) -> None:
    """Mode 0600 whatever the umask allows; the secret is in the file alone, and the public key comes out."""
    file = tmp_path / "crm.secret"
    before = os.umask(mask)
    try:
        result = keys("--ed25519", "--out", str(file))
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = signing_key(file.read_text().strip())
    assert isinstance(key, PrivateKey)
    assert result.stdout.splitlines() == [str(key.public)] == lines("--public", str(file))
    assert file.read_text().strip() not in result.output
    assert str(file) in result.stderr


def test_a_symmetric_file_prints_nothing(tmp_path: Path) -> None:
    """There is no public half; with --json the file is named."""
    file, other = tmp_path / "a", tmp_path / "b"
    assert lines("--out", str(file)) == []
    assert isinstance(signing_key(file.read_text().strip()), bytes)
    assert json.loads("".join(lines("--out", str(other), "--json"))) == {"file": str(other)}


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    """Neither a file nor what a link points to; the exit code is 2, and nothing is printed that could be used."""
    file, link = tmp_path / "crm.secret", tmp_path / "link"
    file.write_text("precious")
    link.symlink_to(tmp_path / "elsewhere")
    for path in (file, link):
        result = keys("--out", str(path))
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"{path} is there already" in result.stderr
    assert file.read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    """A secret that could not be written whole is not left behind in part."""
    file = tmp_path / "crm.secret"
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)); from bridge.__main__ import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", limited, "keys", "--out", str(file)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert f"{file} can't be written: file too large" in ended.stderr
    assert not file.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read: no such file or directory"), (b"\xff\xff", "is not text"), (b"", "whsec_"),
        (b"whsk_aHVzaA==\n", "64 bytes, or 32"), (b"hush", "a secret starts with whsec_"),
    ],
)  # fmt: skip
def test_a_file_without_a_key_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    """`--public` says which file and what is wrong with it, and nothing of what is in it."""
    file = tmp_path / "crm.secret"
    if content is not None:
        file.write_bytes(content)
    result = keys("--public", str(file))
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(file) in result.stderr
    assert said in result.stderr
    assert "hush" not in result.stderr
    assert "aHVzaA" not in result.stderr


def test_a_symmetric_secret_has_no_public_key(tmp_path: Path) -> None:
    """That is said, with what to do instead."""
    file = tmp_path / "crm.secret"
    lines("--out", str(file))
    result = keys("--public", str(file))
    assert result.exit_code == 2
    assert "no public key: receivers verify with the secret itself" in result.stderr
    assert keys("--public", str(file), "--ed25519").exit_code == 2


def test_the_help_teaches() -> None:
    """Every example in it is a command that works, or would with a file of one's own."""
    told = keys("--help").stdout
    for words in ("runbridge keys --ed25519 --out", "mode 0600", "Exit codes"):
        assert words in told
