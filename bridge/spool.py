"""Signals on disk until they are in the log, one file each. Refuses to be a queue: a source has one at a time.

A file is written whole, synced and renamed, so that a crash leaves it whole or not at all. Without a directory the
spool keeps nothing and says so.
"""

import base64
import contextlib
import os
from pathlib import Path

import msgspec

from bridge.clock import uuid7
from bridge.event import Batch, Event, Parked
from bridge.facts import SignalSpooled, SpoolFailed
from bridge.ports import Observe


class _Signal(Event, kw_only=True):
    """An event as it is read back: its time is text, or msgspec could not tell the forms apart."""

    time: str


class _Kept(msgspec.Struct):
    """The form of a file: events as they are, parked records with their bytes in base64."""

    events: list[_Signal]
    parked: list[tuple[str, str]]


class Spool:
    """The directory of `spool`, made with mode 0700; None keeps nothing."""

    def __init__(self, directory: Path | None, observe: Observe) -> None:
        self._directory = directory
        self._observe = observe
        if directory is not None:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, source: str, batch: Batch) -> bool:
        """Write the batch down; True if it is on disk now."""
        if self._directory is None:
            return False
        events = [record for record in batch.records if isinstance(record, Event)]
        parked = [
            (record.reason, base64.b64encode(record.raw).decode())
            for record in batch.records
            if isinstance(record, Parked)
        ]
        name = f"{source}@{uuid7()}"
        try:
            _write(self._directory, name, msgspec.json.encode({"events": events, "parked": parked}))
        except OSError as error:
            self._observe(SpoolFailed(source, str(error)))
            return False
        self._observe(SignalSpooled(source, name))
        return True

    def left(self, source: str) -> list[Batch]:
        """What an earlier life of this source could not store, oldest first."""
        batches = []
        for path in self._files(source):
            try:
                kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
            except (OSError, msgspec.MsgspecError) as error:
                self._observe(SpoolFailed(source, f"{path.name}: {error}"))
                path.rename(path.with_suffix(".unreadable"))
                continue
            for event in kept.events:
                event.data = msgspec.Raw(bytes(event.data))
            parked = [Parked(reason, base64.b64decode(raw)) for reason, raw in kept.parked]
            batches.append(Batch([*kept.events, *parked]))
        return batches

    def drop(self, source: str) -> None:
        """Everything kept for this source is in the log now."""
        for path in self._files(source):
            with contextlib.suppress(OSError):
                path.unlink()

    def _files(self, source: str) -> list[Path]:
        if self._directory is None:
            return []
        found = (path for path in self._directory.iterdir() if path.suffix == ".signal")
        return sorted(path for path in found if path.name.rpartition("@")[0] == source)


def _write(directory: Path, name: str, body: bytes) -> None:
    unfinished = directory / f"{name}.unfinished"
    # nobody else's to read, whatever the umask says and whoever made the directory
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(directory / f"{name}.signal")
    parent = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
