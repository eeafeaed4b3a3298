"""The events of the bridge's own: `dev.runbridge.source.<what>`, `dev.runbridge.destination.<what>`. Pure."""

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
    event = own_event(
        id_=id_, resource=f"urn:runbridge:destination:{destination}", subject=destination, what="", data=data, time=time
    )
    event.type = f"dev.runbridge.destination.{what}"
    event.recordedtime = time
    return event.type, msgspec.json.encode(event)
