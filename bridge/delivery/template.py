"""The name of the stream that an event goes to at a `redis://` destination, from a text with fields.

Pure: no I/O, no clock. Refuses to change a value, except for its length.
"""

import re
from hashlib import blake2b

import msgspec

from bridge.event import Entry

FIELDS = ("type", "subject", "source", "partition")
MOST = 512
"""Bytes of a key. One that would be longer ends with a digest of the whole instead."""
MOST_TEXT = 256
"""Bytes of a template's own text, so that a hash tag in it is never cut off."""
NONE = "none"
"""Stands for a value that the event doesn't have."""
_PART = re.compile(r"(\{\{|\}\})|\{([^{}]*)\}|([{}])")
_DIGEST = 16


class _Source(msgspec.Struct):
    source: str = ""


_source_of = msgspec.json.Decoder(_Source)


class Template:
    """`runs:{subject}`: literal text stays, a field is replaced by its value, `{{` and `}}` are braces.

    ValueError, with what is allowed, for a text that can't be used.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts: list[tuple[str, str]] = []
        """Literal text, and the field behind it ("" at the end)."""
        literal, at = "", 0
        for found in _PART.finditer(text):
            brace, name, lone = found.groups()
            literal, at = literal + text[at : found.start()], found.end()
            if lone:
                raise ValueError(f"{lone!r} stands alone: write {lone * 2!r} for a brace")
            if brace:
                literal += brace[0]
            elif name not in FIELDS:
                raise ValueError(f"unknown field {{{name}}}: use {', '.join(f'{{{field}}}' for field in FIELDS)}")
            else:
                self._parts.append((literal, name))
                literal = ""
        self._parts.append((literal + text[at:], ""))
        if not text:
            raise ValueError("is empty: name a stream, such as 'runs:{subject}'")
        if sum(len(literal.encode()) for literal, _ in self._parts) > MOST_TEXT:
            raise ValueError(f"its own text is longer than {MOST_TEXT} bytes")
        self._asks_source = any(name == "source" for _, name in self._parts)

    def key(self, entry: Entry, partition: int) -> str:
        """The stream of this event, read from this partition of the log: at most MOST bytes."""
        values = {"type": entry.type, "subject": entry.subject, "partition": str(partition)}
        if self._asks_source:
            values["source"] = _source(entry.event)
        key = "".join([literal + (values[name] or NONE if name else "") for literal, name in self._parts])
        return key if len(key) * 4 <= MOST else _bounded(key)

    def tag(self, partition: int) -> str:
        """The cluster's hash tag that all keys of this partition share; "" where there is none."""
        text = ""
        for literal, name in self._parts:
            text += literal
            if name != "partition":
                break  # what follows may be different for each event
            text += str(partition)
        # https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/, "Hash tags"
        found = re.search(r"\{([^}]*)\}", text)
        return found[1] if found else ""

    def problem_on_cluster(self) -> str | None:
        """Why this can't be used on a cluster, where all keys of one call have to be in one slot; None if it can."""
        if self.tag(0):
            return None
        return (
            f"{self.text!r} spreads over the slots of a cluster, but a batch must stay in one: begin it with a hash "
            f"tag in doubled braces, before any field but {{partition}}, as in '{{{{bridge}}}}:runs:{{subject}}'"
        )


def _source(event: bytes) -> str:
    try:
        return _source_of.decode(event).source
    except (msgspec.MsgspecError, ValueError):
        return ""  # somebody else's entry


def _bounded(key: str) -> str:
    encoded = key.encode(errors="replace")
    if len(encoded) <= MOST:
        return key
    digest = blake2b(encoded, digest_size=_DIGEST).hexdigest()
    return f"{encoded[: MOST - 2 * _DIGEST - 1].decode(errors='ignore')}~{digest}"
