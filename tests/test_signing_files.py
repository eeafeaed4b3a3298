"""Holds the rotation of secrets to their files: what is in one signs within two seconds, and never nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import wait_blocking

from bridge.facts import Fact, SecretRotated, SecretUnusable
from bridge.secret_files import LOOK_EVERY, RotatingSigner
from bridge.signing import PrivateKey, Signer, SigningKey, text_of

FIXED, OLD, NEW = b"f" * 24, b"o" * 24, b"n" * 24
PAIR = PrivateKey.of_seed(b"s" * 32)


def ignore(_fact: Fact) -> None:
    """Nobody listens."""


class Rotating:
    """A destination whose file holds `OLD` at the start, with time that passes when it is told to."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "secrets" / "crm.secret"
        self.file.parent.mkdir()
        self.file.write_text(text_of(OLD) + "\n")
        self.facts: list[Fact] = []
        self.now = 100.0
        self._signer = RotatingSigner("crm", [FIXED, OLD], [self.file], self.facts.append, lambda: self.now)

    def replace(self, content: bytes | str) -> None:
        """Another file in its place, in one step."""
        beside = self.file.with_suffix(".new")
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
        beside.rename(self.file)

    def keys(self) -> list[SigningKey]:
        """The known keys that sign, after the least time in which a change is seen."""
        self.now += LOOK_EVERY
        header = self._signer.header("msg_1", 1, b"{}")
        known = {Signer([key]).header("msg_1", 1, b"{}"): key for key in (FIXED, OLD, NEW, PAIR)}
        return [known[entry] for entry in header.split(" ")]

    def told(self) -> list[Fact]:
        """What has been said since the last time."""
        told, self.facts[:] = list(self.facts), []
        return told


@pytest.fixture
def rotating(tmp_path: Path) -> Rotating:
    """One of them."""
    return Rotating(tmp_path)


def test_a_new_secret_signs_without_a_restart(rotating: Rotating) -> None:
    """Of either kind, after those of the configuration, with one line each; what stays the same says nothing."""
    assert rotating.keys() == rotating.keys() == [FIXED, OLD]
    assert rotating.told() == []
    for key in (NEW, PAIR):
        rotating.replace(text_of(key))
        assert rotating.keys() == rotating.keys() == [FIXED, key]
        assert rotating.told() == [SecretRotated("crm", str(rotating.file))]
    rotating.replace(f"\ufeff  {text_of(PAIR)}\r\n")
    assert rotating.keys() == [FIXED, PAIR]
    assert rotating.told() == []


def test_it_looks_at_most_every_two_seconds(rotating: Rotating) -> None:
    """In between the file is not touched at all: a pulled one is not even missed."""
    assert rotating.keys() == [FIXED, OLD]
    rotating.file.unlink()
    rotating.now += LOOK_EVERY * 0.99
    rotating._signer.header("msg_1", 1, b"{}")
    assert rotating.told() == []
    rotating.now += LOOK_EVERY * 0.02
    rotating._signer.header("msg_1", 1, b"{}")
    assert rotating.told() == [SecretUnusable("crm", str(rotating.file), "does not exist")]


def pull(file: Path) -> None:
    """Take the file away."""
    file.unlink()


def directory(file: Path) -> None:
    """Put a directory in its place."""
    file.unlink()
    file.mkdir()


def pipe(file: Path) -> None:
    """Put a pipe in its place, whose opening would wait for ever."""
    file.unlink()
    os.mkfifo(file)


def holds(content: bytes) -> Callable[[Path], None]:
    """Write something else into it."""

    def harm(file: Path) -> None:
        file.write_bytes(content)

    return harm


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (pull, "does not exist"), (directory, "is not a regular file"), (pipe, "is not a regular file"),
        (holds(b"\n"), "is empty"), (holds(b"\xff\xfe"), "is not UTF-8 text"),
        (holds(b"w" * ((64 << 10) + 1)), "is larger than 64 KiB"),
        (holds(b"whsec_" + b"c2VjcmV0" * 3), "24 to 64 bytes"), (holds(b"whsk_c2VjcmV0"), "64 bytes, or 32"),
        (holds(b"hush-hush"), "a secret starts with whsec_ or whsk_"),
    ],
)  # fmt: skip
def test_the_old_secret_goes_on_while_the_file_is_bad(
    rotating: Rotating, harm: Callable[[Path], None], reason: str
) -> None:
    """What is wrong is said once, without what is in the file; so is that it is good again, if only as before."""
    rotating.keys()
    harm(rotating.file)
    assert rotating.keys() == rotating.keys() == [FIXED, OLD]
    (fact,) = rotating.told()
    assert isinstance(fact, SecretUnusable)
    assert (fact.destination, fact.path) == ("crm", str(rotating.file))
    assert reason in fact.reason
    assert not any(secret in fact.reason for secret in ("c2VjcmV0", "hush"))
    if rotating.file.is_dir():
        rotating.file.rmdir()
    rotating.replace(text_of(OLD))
    assert rotating.keys() == rotating.keys() == [FIXED, OLD]
    assert rotating.told() == [SecretRotated("crm", str(rotating.file))]


def test_a_copy_that_keeps_size_and_time_is_seen(rotating: Rotating) -> None:
    """As `cp --preserve` makes it: written into the same file, with an old time of its last change."""
    rotating.keys()
    before = rotating.file.stat()

    def copied() -> os.stat_result | None:
        rotating.file.write_text(text_of(NEW) + "\n")
        os.utime(rotating.file, ns=(before.st_atime_ns, before.st_mtime_ns))
        return rotating.file.stat() if rotating.file.stat().st_ctime_ns != before.st_ctime_ns else None

    after = wait_blocking(copied, "the file system's clock to go on")
    assert after is not None
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert rotating.keys() == [FIXED, NEW]


def test_the_same_file_may_come_back(rotating: Rotating) -> None:
    """As when a file system is unmounted for a while: it is missed, and then good again although it is the same."""
    rotating.keys()
    secrets = rotating.file.parent
    away = secrets.rename(secrets.with_name("away"))
    rotating.keys()
    away.rename(secrets)
    assert rotating.keys() == [FIXED, OLD]
    path = str(rotating.file)
    assert rotating.told() == [SecretUnusable("crm", path, "does not exist"), SecretRotated("crm", path)]


def test_each_bad_content_is_said(rotating: Rotating) -> None:
    """Another reason is another line; a second good secret after it signs at once."""
    rotating.replace("")
    rotating.keys()
    rotating.file.unlink()
    rotating.keys()
    rotating.replace(text_of(NEW))
    assert rotating.keys() == [FIXED, NEW]
    path = str(rotating.file)
    assert rotating.told() == [
        SecretUnusable("crm", path, "is empty"),
        SecretUnusable("crm", path, "does not exist"),
        SecretRotated("crm", path),
    ]


def test_two_files_are_a_rotation_with_an_overlap(tmp_path: Path) -> None:
    """While both hold the same secret it signs once; with the old one in the second file, both sign."""
    now = 0.0
    files = [tmp_path / "current", tmp_path / "previous"]
    for file in files:
        file.write_text(text_of(OLD))
    signer = RotatingSigner("crm", [OLD, OLD], files, ignore, lambda: now)
    assert signer.header("msg_1", 1, b"") == Signer([OLD]).header("msg_1", 1, b"")
    beside = tmp_path / "new"
    beside.write_text(text_of(NEW))
    beside.rename(files[0])
    now += LOOK_EVERY
    assert signer.header("msg_1", 1, b"") == Signer([NEW, OLD]).header("msg_1", 1, b"")
    assert "nnn" not in repr(signer)


def test_every_file_has_a_key_at_the_start(tmp_path: Path) -> None:
    """The one that was read with the configuration: there is no time without."""
    with pytest.raises(ValueError, match="every file"):
        RotatingSigner("crm", [], [tmp_path / "secret"], ignore)
