"""Signals on disk until they are in the log."""

import os
from pathlib import Path

import msgspec
import pytest

from bridge.event import Batch, Event, Parked
from bridge.facts import Fact, SignalSpooled, SpoolFailed
from bridge.spool import Spool


@pytest.fixture
def facts() -> list[Fact]:
    """What the spool reports."""
    return []


def signal(id_: str, data: bytes = b'{"code": "1"}') -> Batch:
    """A batch with one signal."""
    event = Event(
        id=id_, source="https://anchor.example/events/otp", type="io.anchorbrowser.event.signaled", subject="otp",
        time="2026-11-21T12:00:00.000Z", partitionkey="otp", data=msgspec.Raw(data),
    )  # fmt: skip
    return Batch([event])


def encoded(batches: list[Batch]) -> list[bytes]:
    """Events as the log would store them."""
    return [msgspec.json.encode(record) for batch in batches for record in batch.records]


def test_keeps_over_lives_until_dropped(tmp_path: Path, facts: list[Fact]) -> None:
    """What one life keeps the next finds, oldest first and byte for byte, until it is dropped."""
    kept = [signal("a"), signal("b", '{"é" :  [1, 2.50]}'.encode())]
    assert all(Spool(tmp_path, facts.append).keep("otp", batch) for batch in kept)
    assert [type(fact) for fact in facts] == [SignalSpooled, SignalSpooled]
    later = Spool(tmp_path, facts.append)
    assert encoded(later.left("otp")) == encoded(kept)
    later.drop("otp")
    assert later.left("otp") == []
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_reads_what_is_kept(tmp_path: Path, facts: list[Fact]) -> None:
    """A file is its owner's alone, in a directory that others may look into too."""
    tmp_path.chmod(0o755)
    before = os.umask(0o022)
    try:
        Spool(tmp_path, facts.append).keep("otp", signal("a"))
    finally:
        os.umask(before)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_parked_bytes_survive(tmp_path: Path, facts: list[Fact]) -> None:
    """An answer that could not be read keeps its bytes, whatever they are."""
    raw = bytes(range(256))
    spool = Spool(tmp_path, facts.append)
    spool.keep("otp", Batch([Parked("no signal in the answer", raw)]))
    (batch,) = spool.left("otp")
    (record,) = batch.records
    assert isinstance(record, Parked)
    assert (record.reason, record.raw) == ("no signal in the answer", raw)


def test_sources_are_apart(tmp_path: Path, facts: list[Fact]) -> None:
    """A source finds and drops only what is its own, though names begin alike."""
    spool = Spool(tmp_path, facts.append)
    names = ("otp", "otp.2", "otp-2", "ot")
    for name in names:
        spool.keep(name, signal(name))
    spool.drop("otp")
    assert [len(spool.left(name)) for name in names] == [0, 1, 1, 1]


def test_directory_is_private(tmp_path: Path, facts: list[Fact]) -> None:
    """The directory is made where there is none, for its owner alone."""
    directory = tmp_path / "deep" / "spool"
    Spool(directory, facts.append)
    assert directory.stat().st_mode & 0o777 == 0o700


def test_half_a_file_is_not_a_signal(tmp_path: Path, facts: list[Fact]) -> None:
    """A crash while writing leaves nothing that counts."""
    spool = Spool(tmp_path, facts.append)
    spool.keep("otp", signal("a"))
    (file,) = tmp_path.iterdir()
    file.rename(file.with_suffix(".unfinished"))
    assert spool.left("otp") == []


def test_unreadable_file_is_put_aside(tmp_path: Path, facts: list[Fact]) -> None:
    """A file that can't be read is reported and put aside; it stops neither the others nor the next start."""
    spool = Spool(tmp_path, facts.append)
    (tmp_path / "otp@0.signal").write_bytes(b'{"events": [')
    spool.keep("otp", signal("a"))
    assert len(spool.left("otp")) == 1
    assert [fact.source for fact in facts if isinstance(fact, SpoolFailed)] == ["otp"]
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".signal"] == ["otp@0.unreadable"]
    spool.left("otp")
    assert len([fact for fact in facts if isinstance(fact, SpoolFailed)]) == 1


def test_a_spool_that_fails_says_so(tmp_path: Path, facts: list[Fact]) -> None:
    """Where the disk refuses, `keep` is False and reported; it does not raise."""
    directory = tmp_path / "spool"
    spool = Spool(directory, facts.append)
    directory.rmdir()
    directory.touch()
    assert spool.keep("otp", signal("a")) is False
    assert [type(fact) for fact in facts] == [SpoolFailed]


def test_without_a_directory_nothing_is_kept(facts: list[Fact]) -> None:
    """A spool that is off says so by False, and has nothing."""
    spool = Spool(None, facts.append)
    assert spool.keep("otp", signal("a")) is False
    assert spool.left("otp") == []
    spool.drop("otp")
    assert facts == []
