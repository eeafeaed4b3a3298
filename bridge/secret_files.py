"""Signing secrets in files, looked at again while they are used, so that a rotation needs no restart.

Refuses to go without: whatever becomes of a file, the secret that it held last goes on signing. Shows none.
"""

import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bridge.facts import SecretRotated, SecretUnusable
from bridge.ports import Observe
from bridge.signing import Signer, SigningKey, signing_key

LOOK_EVERY = 2.0
"""Seconds between looks at the files, at least; a look costs some 2 µs a file."""
LARGEST_SECRET = 64 << 10
"""Bytes of a file."""


class _Unusable(Exception):
    """Why a file can't be used; seen nowhere outside."""


class RotatingSigner(Signer):
    """A `Signer` with the keys of a destination's configuration, then those of its files as they are now.

    `keys` are all that were there at the start, those of `files` last, as `bridge.settings` reads them: whitespace
    around a secret doesn't count. A file is best replaced by renaming another over it, which it sees in one step.
    """

    __slots__ = ("_clock", "_destination", "_due", "_files", "_fixed", "_observe")

    def __init__(
        self,
        destination: str,
        keys: Sequence[SigningKey],
        files: Sequence[Path],
        observe: Observe,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if len(keys) < len(files):
            raise ValueError("every file has a key")
        fixed = len(keys) - len(files)
        super().__init__(keys)
        self._destination = destination
        self._fixed = tuple(keys[:fixed])
        self._files = [_SecretFile(path, key) for path, key in zip(files, keys[fixed:], strict=True)]
        self._observe = observe
        self._clock = clock
        self._due = clock()

    def __repr__(self) -> str:
        return f"<RotatingSigner of {self._destination} with {len(self._files)} files>"

    def header(self, message_id: str, timestamp: int, body: bytes) -> str:
        """As `Signer.header`, with what the files held at most two seconds ago."""
        now = self._clock()
        if now >= self._due:
            self._due = now + LOOK_EVERY
            self._look()
        return super().header(message_id, timestamp, body)

    def _look(self) -> None:
        for file in self._files:
            key, problem = file.key, file.problem
            file.look()
            if file.key != key:
                super().__init__((*self._fixed, *(each.key for each in self._files)))
            if file.problem and file.problem != problem:
                self._observe(SecretUnusable(self._destination, str(file.path), file.problem))
            elif not file.problem and (problem or file.key != key):
                self._observe(SecretRotated(self._destination, str(file.path)))


class _SecretFile:
    """A file, the last good key that was in it, and what is wrong with it now ("" for nothing)."""

    __slots__ = ("_seen", "key", "path", "problem")

    def __init__(self, path: Path, key: SigningKey) -> None:
        self.path = path
        self.key = key
        self.problem = ""
        self._seen: tuple[int, ...] | None = None

    def look(self) -> None:
        """Read the file if it is not the one that was read last."""
        try:
            now = _identity(self.path)
            if now != self._seen:
                self._seen = now  # before the reading: what is written during it is another file at the next look
                self.key = signing_key(_content(self.path))
                self.problem = ""
        except _Unusable as error:
            self._seen = None
            self.problem = str(error)
        except ValueError as error:  # of signing_key, which doesn't show the secret
            self.problem = str(error)


def _identity(path: Path) -> tuple[int, ...]:
    """What tells one content of a file from another; the time of change finds a copy that keeps the others."""
    try:
        status = os.stat(path)  # noqa: PTH116  # as quick as can be
    except OSError as error:
        raise _Unusable(_reason(error)) from None
    if not stat.S_ISREG(status.st_mode):
        raise _Unusable("is not a regular file")
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _content(path: Path) -> str:
    """A file's text without the white space around it."""
    try:
        # a pipe that has just been put in its place would not be waited for
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123  # a number
            content = file.read(LARGEST_SECRET + 1) or b""
    except OSError as error:
        raise _Unusable(_reason(error)) from None
    if len(content) > LARGEST_SECRET:
        raise _Unusable(f"is larger than {LARGEST_SECRET >> 10} KiB")
    try:
        text = content.decode("utf-8-sig").strip()  # some editors start a file with a byte order mark
    except UnicodeDecodeError:
        raise _Unusable("is not UTF-8 text") from None
    if not text:
        raise _Unusable("is empty")
    return text


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    return f"can't be read: {(error.strerror or 'input/output error').lower()}"
