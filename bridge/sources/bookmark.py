"""What a source keeps beside its cursor: how it goes on where there is none, or not only one. Pure."""

import msgspec

CHANGED = "changed"
"""What `open_source.lua` stores where the filters are others now, with `:` and the cursor that was theirs."""
STARTED = "{}"
"""Goes on without a cursor, from wherever the upstream begins."""


def dropped(text: str) -> str | None:
    """The cursor that a change of filters has dropped, "" for none or an unknown one; None where nothing changed."""
    mark, _, cursor = text.partition(":")
    return cursor if mark == CHANGED else None


class Bookmark(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a source without a cursor stands. The empty one asks for nothing special."""

    page: str | None = None
    """The list call is being read: the cursor of its next page, "" at its beginning."""
    begin: str = ""
    """The list is read from this time on."""
    until: str = ""
    """The event that the list is read up to: whatever is committed after it, the stream brings."""
    seek: bool = False
    """What the list tells is left out up to the first event that is in the log already."""
    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    """The ids of the first and of the last events that the list has told."""
    through: str = ""
    """The time of the very last one, in the list's order."""
    within: bool = False
    """The stream is telling, from its beginning, what the list has told."""
    again: bool = False
    """The list was empty: it is read once more when the connection is there, so that nothing falls between."""
    tail: str | None = None
    """The stream behind the list has no cursor: the list is read on, from this page, when the connection is there."""
    since: str = ""
    """What happened before this time is left out."""
    now: bool = False
    """That time is when the source began: nothing older was asked for."""
    connected: bool = False
    """There was a connection already: another one without a cursor comes after a gap."""

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
