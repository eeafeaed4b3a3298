"""The names of all keys. The first four are the public contract (DESIGN section 5); the rest are internal.

All keys of a partition carry its hash tag, so that every script stays in one slot of a cluster.
"""

import zlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one partition of the log under `prefix`."""

    prefix: str
    partition: int

    @property
    def root(self) -> str:
        """What all keys of this partition start with; its braces are the cluster's hash tag."""
        return f"{self.prefix}:{{{self.partition}}}"

    @property
    def events(self) -> str:
        """Stream: the log."""
        return f"{self.root}:events"

    @property
    def parked(self) -> str:
        """Stream: records that could not be read."""
        return f"{self.root}:parked"

    def dead(self, destination: str) -> str:
        """Stream: a destination's dead letters."""
        return f"{self.root}:dead:{destination}"

    def source(self, source: str) -> str:
        """Hash: a source's cursor, sequence, owner and state."""
        return f"{self.root}:source:{source}"

    def recent(self, source: str) -> str:
        """List, internal: the de-duplication window, one element a batch, event ids separated by newlines."""
        return f"{self.root}:recent:{source}"

    def destination(self, destination: str) -> str:
        """Hash, internal: who delivers to a destination."""
        return f"{self.root}:destination:{destination}"

    def held(self, destination: str) -> str:
        """Hash, internal: subject -> its first unsettled entry, attempts and last outcome, where it waits."""
        return f"{self.root}:held:{destination}"

    def due(self, destination: str) -> str:
        """Sorted set, internal: subject -> when its first entry is to be tried again, ms since 1970."""
        return f"{self.root}:due:{destination}"

    def lanes_of(self, destination: str) -> str:
        """Hash, internal: subject -> the lane it waits in, where lanes are made of what failed together."""
        return f"{self.root}:lanes:{destination}"

    def requests(self, destination: str = "") -> str:
        """List, internal: what somebody asks of a destination. Without one: a set, the destinations with requests."""
        return f"{self.root}:requests:{destination}" if destination else f"{self.root}:requests"

    @property
    def commands(self) -> str:
        """Stream: what somebody asks of the running bridge (`bridge.commands`); in partition 0."""
        return f"{self.root}:commands"

    @property
    def definitions(self) -> str:
        """Hash, internal: sources and destinations added while running, and what is paused; in partition 0."""
        return f"{self.root}:definitions"

    @property
    def clock(self) -> str:
        """Text, internal: the delivery clock and the wall clock at one moment, in ms."""
        return f"{self.root}:clock"

    def oldest(self, destination: str) -> str:
        """Sorted set, internal: subject -> ms part of its first unsettled entry's id; bounds the trimming."""
        return f"{self.root}:oldest:{destination}"

    def lane(self, destination: str) -> str:
        """What the lists of waiting entries start with; the subject follows. No name holds a slash, subjects may."""
        return f"{self.root}:lane:{destination}/"


def partition_of(source: str, partitions: int) -> int:
    """The partition a source belongs to: the same on every machine and in every release."""
    return zlib.crc32(source.encode()) % partitions
