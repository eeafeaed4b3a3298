"""The WHATWG event stream algorithm, word for word over text and one character at a time; refuses to be fast.

The second implementation that `bridge.sse` is held against: it shares no code and no trick with the first.
Quotations are from https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One dispatched event, as text; `own_id` tells whether one of its lines set the last event ID buffer."""

    type: str
    data: str
    last_event_id: str
    retry: int | None
    own_id: bool


@dataclass
class Stream:
    """What a user agent knows at the end of the bytes it was given."""

    messages: list[Message]
    last_event_id: str
    retry: int | None


def lines_of(text: str) -> list[str]:
    """Return the finished lines: those that end in CRLF, a lone LF or a lone CR."""
    lines = []
    line = ""
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\r":
            if position < len(text) and text[position] == "\n":
                position += 1
            lines.append(line)
            line = ""
        elif character == "\n":
            lines.append(line)
            line = ""
        else:
            line += character
    return lines


def interpret(stream: bytes, *, last_event_id: str = "", errors: str = "replace") -> Stream:
    """Interpret a whole stream; `errors="surrogateescape"` lets the data be turned back into its bytes."""
    text = stream.decode("utf-8", errors)
    text = text.removeprefix("\N{BYTE ORDER MARK}")  # "strips one leading UTF-8 Byte Order Mark (BOM), if any"
    result = Stream([], last_event_id, None)
    data_buffer = ""
    event_type_buffer = ""
    last_event_id_buffer = last_event_id
    own_id = False
    for line in lines_of(text):
        if line == "":  # "If the line is empty (a blank line): Dispatch the event"
            result.last_event_id = last_event_id_buffer
            if data_buffer != "":  # "If the data buffer is an empty string, [...] return"
                if data_buffer[-1] == "\n":
                    data_buffer = data_buffer[:-1]
                event_type = event_type_buffer if event_type_buffer != "" else "message"
                result.messages.append(Message(event_type, data_buffer, result.last_event_id, result.retry, own_id))
            data_buffer = ""
            event_type_buffer = ""
            own_id = False
            continue
        if line[0] == ":":  # "Ignore the line"
            continue
        colon = line.find(":")
        field = line if colon == -1 else line[:colon]
        value = "" if colon == -1 else line[colon + 1 :]
        if value != "" and value[0] == " ":  # "If value starts with a U+0020 SPACE character, remove it"
            value = value[1:]
        if field == "event":
            event_type_buffer = value
        elif field == "data":
            data_buffer += value + "\n"
        elif field == "id":
            if "\0" not in value:  # "If the field value does not contain U+0000 NULL"
                last_event_id_buffer = value
                own_id = True
        elif field == "retry" and value != "" and all(character in "0123456789" for character in value):
            result.retry = int(value)  # "If the field value consists of only ASCII digits"
    return result  # "Any pending data must be discarded"
