"""What a source keeps beside its cursor: how it goes on where there is none, or not only one. Pure."""

import msgspec

CHANGED = "changed"
"""What `open_source.lua` stores where the filters that a cursor belongs to are others now."""
STARTED = "{}"
"""Goes on without a cursor, from wherever the upstream begins."""


class Bookmark(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a source without a cursor stands. The empty one asks for nothing special."""

    page: str | None = None
    """The list call is being read: the cursor of its next page, "" at its beginning."""
    begin: str = ""
    """The list is read from this time on."""
    until: str = ""
    """The event that the list is read up to: whatever comes after it, the stream brings."""
    seek: bool = False
    """What the list tells is left out up to the first event that is in the log already."""
    first: str = ""
    last: str = ""
    """The ids of the first and the last event that the list told."""
    through: str = ""
    """The time of that last event."""
    again: bool = False
    """The list was empty: it is read once more when the connection is there, so that nothing falls between."""
    since: str = ""
    """What happened before this time is left out."""

    @property
    def text(self) -> str:
        """The bookmark as it is stored."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, text: str) -> "Bookmark":
        """A stored bookmark; the empty one for a text that is none."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            return cls()
