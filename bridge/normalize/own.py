"""The events of the bridge's own: `dev.runbridge.source.<what>`, `.destination.<what>`, `.command.<what>`. Pure."""

import msgspec

from bridge.event import Event


def own_event(*, id_: str, resource: str, subject: str, what: str, data: dict[str, object], time: str) -> Event:
    """An event about a source, in the order of its subject, so that a reader meets it where it happened."""
    return Event(
        id=id_,
        source=resource,
        type=f"dev.runbridge.source.{what}",
        subject=subject,
        time=time,
        partitionkey=subject,
        data=msgspec.Raw(msgspec.json.encode(data)),
    )


def destination_event(
    *, id_: str, destination: str, what: str, data: dict[str, object], time: str
) -> tuple[str, bytes]:  # fmt: skip
    """An event about a destination as a whole: its type, and the event as JSON. It belongs to no source's sequence."""
    resource = f"urn:runbridge:destination:{destination}"
    event = own_event(id_=id_, resource=resource, subject=destination, what="", data=data, time=time)
    return _beside(event, f"dev.runbridge.destination.{what}")


def command_event(*, id_: str, request: str, what: str, data: dict[str, object], time: str) -> tuple[str, bytes]:
    """The answer to a command that came through Redis: its type, and the event as JSON. Its subject is `request`."""
    event = own_event(
        id_=id_, resource="urn:runbridge:command", subject=request, what="", data=data, time=time
    )  # fmt: skip
    return _beside(event, f"dev.runbridge.command.{what}")


def _beside(event: Event, type_: str) -> tuple[str, bytes]:
    event.type, event.recordedtime = type_, str(event.time)
    return type_, msgspec.json.encode(event)
