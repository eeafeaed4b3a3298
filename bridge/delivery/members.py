"""Reads the members of a CloudEvent without decoding them, and lays them out for HTTP. Pure; raises nothing.

CloudEvents 1.0.2 (https://github.com/cloudevents/spec): core 3, JSON format 2 and 3, HTTP binding 3.1. Strict: what
two receivers could read in two ways is no CloudEvent here, so that it is sent on as it is and not as one reading.
"""

import json
import re
from urllib.parse import quote

import msgspec

Members = dict[str, bytes]
"""Name -> JSON text, `data` and `data_base64` among them. Attributes that are null are left out."""

MAX_HEADERS = 32 * 1024
"""Bytes of an event's headers: what exceeds it goes out structured. Servers take 8 to 64 KiB."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_bytes = msgspec.json.Decoder(bytes).decode
_string = msgspec.json.Decoder(str).decode
_names = re.compile(r"[a-z0-9]*").fullmatch
_scalar = re.compile(rb"true|false|-?(?:0|[1-9][0-9]*)").fullmatch
"""A Boolean or an Integer; other numbers and containers are of no type that an attribute can have."""
_QUOTE = ord('"')
_filled = re.compile(rb'"[^"]').match
_plain = re.compile(rb"[!-$&-\[\]-~]*").fullmatch
"""JSON texts, one or many joined, that are header values once their quotes are off: no space, `%`, escape, control or
non-ASCII character, and with no escape no further quote either."""
_SAFE = "".join(map(chr, range(0x21, 0x7F))).translate({ord('"'): None, ord("%"): None})
_media_type = re.compile(r"(?!application/cloudevents)[!-~]+(?: [!-~]+)*", re.IGNORECASE).fullmatch
"""What may go into Content-Type, where nothing is percent-encoded; a CloudEvents type would announce another mode."""
_json_type = re.compile(r"[^;]*[/+]json *(?:;.*)?", re.IGNORECASE).fullmatch
_other_charset = re.compile(r'charset *= *+"?+(?!utf-8)', re.IGNORECASE).search


def read(text: bytes) -> Members | None:
    """The members of a CloudEvent 1.0 in JSON form; None for anything else, or for one with a name that is twice."""
    try:
        if not text.isascii():
            text.decode()
        found = {name: bytes(raw) for name, raw in _members(text).items()}
        once = _laid_out(found) == len(text) or _all_once(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    content = {name: found.pop(name) for name in ("data", "data_base64") if name in found}
    if content.get("data_base64") == b"null":
        del content["data_base64"]
    event = {name: value for name, value in found.items() if value != b"null"}
    sound = (
        once
        and len(content) < 2
        and event.get("specversion") == b'"1.0"'
        and all(_filled(event.get(name, b"")) for name in ("id", "source", "type"))
        and event.get("datacontenttype", b'"')[:1] == b'"'
        and "" not in event
        and _names("".join(event))
        and all(_scalar(value) for value in event.values() if value[0] != _QUOTE)
    )
    return event | content if sound else None


def _laid_out(members: Members) -> int:
    """The length of the object with no space between its parts, and names of ASCII without escapes."""
    return 1 + 4 * len(members) + sum(map(len, members)) + sum(map(len, members.values()))


def _all_once(text: bytes) -> bool:
    """Whether no name of the outermost object is there twice. Raises ValueError."""
    outermost: list[tuple[str, object]] = []

    def pairs(found: list[tuple[str, object]]) -> None:
        outermost[:] = found  # the outermost object is the last to be complete

    json.loads(text, object_pairs_hook=pairs, parse_int=len, parse_float=len)  # a long number is not worth reading
    return len(outermost) == len(dict(outermost))


def text(members: Members) -> bytes:
    """The object of these members."""
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), value) for name, value in members.items())


def binary(event: Members) -> tuple[bytes, bytes] | None:
    """Header lines and body of the binary mode; None where only the structured one carries the event whole.

    That is one without data, since a webhook has a payload; one with a Content-Type that HTTP can't carry or that
    means another mode; with data that is no text though its type is not JSON; with headers beyond `MAX_HEADERS`.
    """
    attributes = dict(event)
    type_ = _string(attributes.pop("datacontenttype", b'"application/json"'))
    body = _body(attributes.pop("data", b""), attributes.pop("data_base64", b""), type_)
    if not body or not _media_type(type_):
        return None
    if _plain(b"".join(attributes.values())):
        lines = [b"ce-%b: %b\r\n" % (name.encode(), value.strip(b'"')) for name, value in attributes.items()]
    else:
        lines = [b"ce-%b: %b\r\n" % (name.encode(), _header_value(value)) for name, value in attributes.items()]
    headers = b"Content-Type: %b\r\n%b" % (type_.encode(), b"".join(lines))
    return (headers, body) if len(headers) <= MAX_HEADERS else None


def _header_value(value: bytes) -> bytes:
    """As HTTP binding 3.1.3.2 wants it: percent-encoded UTF-8 but for U+0021..U+007E without `"` and `%`."""
    if _plain(value):
        return value.strip(b'"')
    return quote(_string(value), safe=_SAFE).encode() if value[:1] == b'"' else value


def _body(data: bytes, encoded: bytes, type_: str) -> bytes:
    """JSON data verbatim; decoded base64; the text of a string of another type. Empty where it is none of these."""
    if encoded:
        try:
            return _bytes(encoded)
        except msgspec.MsgspecError:
            return b""
    if _json_type(type_):
        return data
    return b"" if data[:1] != b'"' or _other_charset(type_) else _string(data).encode()
