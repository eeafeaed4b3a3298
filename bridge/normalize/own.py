"""The events of the bridge's own: `dev.runbridge.source.<what>`. Pure."""

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
