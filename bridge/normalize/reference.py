"""Writes the reference of the events as Markdown, from what the readers do. Pure; says nothing that they don't do.

`docs/events.md` is its output: `python -m bridge.normalize > docs/events.md`.
"""

from collections.abc import Iterable, Sequence

import msgspec

from bridge.event import Event
from bridge.normalize import reference_text as text
from bridge.normalize.attributes import CATEGORIES
from bridge.normalize.durable_work import TERMINAL
from bridge.normalize.specimens import SPECIMENS, Specimen, origins

EVERYWHERE = {"specversion", "datacontenttype", "sequence", "partitionkey", "recordedtime", "data"}
"""Attributes that need no row: the page says them once for all."""
SIGNAL = {
    "id": "*UUIDv7*", "source": "*base_url*/events/*event*", "type": "io.anchorbrowser.event.signaled",
    "subject": "*event*", "time": "*receipt*",
}  # fmt: skip
OWN = {
    "id": "*name*:*what*:*UUIDv7*", "source": "*resource*", "type": "dev.runbridge.source.*what*",
    "subject": "*subject*", "time": "*now*",
}  # fmt: skip
STATUSES = ("queued", "dispatching", "running", "cancelling", *sorted(TERMINAL))
DESTINATION = {
    "id": "*UUIDv7*", "source": "urn:runbridge:destination:*destination*", "type": "dev.runbridge.destination.*what*",
    "subject": "*destination*", "time": "*now*",
}  # fmt: skip
MADE = {
    "`anchor.event.wait`": SIGNAL, "the bridge's own, about a source": OWN,
    "the bridge's own, about a destination": DESTINATION,
}  # fmt: skip
"""Columns whose attributes are made and not read."""
NONE = "-"


def markdown() -> str:
    """Returns the whole page."""
    words = ", ".join(f"`{old}` is `{new}`" for old, new in CATEGORIES.items())
    return "".join([
        text.HEAD, "\n", _attributes(), text.LEGEND,
        "\n## Types\n\n", _table(["type", "what it is"], text.TYPES),
        "\n## Ids\n\n", _table(["id", "of", "the same when it is seen again"], text.IDS),
        text.RESOURCES, _resources(),
        "\n## Times of operations and invocations\n\n", _times(),
        text.DESTINATIONS, _table(["field", "what it is"], text.DESTINATION_DATA),
        text.DIFFERENCES.replace("{words}", words),
    ])  # fmt: skip


def _attributes() -> str:
    headings = [*(specimen.heading for specimen in SPECIMENS), *MADE]
    names = (each.encode_name for each in msgspec.structs.fields(Event) if each.encode_name not in EVERYWHERE)
    rows = (
        [
            f"`{name}`",
            *(_cell(specimen, name) for specimen in SPECIMENS),
            *(made.get(name, NONE) for made in MADE.values()),
        ]
        for name in names
    )
    return _table(["attribute", *headings], rows)


def _cell(specimen: Specimen, attribute: str) -> str:
    if attribute == "time" and "status" in specimen.fixed:
        return "*by status*"
    return _alternatives(origins(specimen, attribute))


def _alternatives(found: Sequence[str]) -> str:
    return ", else ".join(found) or NONE


def _resources() -> str:
    """Where `source` and `subject` of the sources differ from event to event."""
    rows = [
        [specimen.heading, source, subject]
        for specimen in SPECIMENS
        for source, subject in zip(origins(specimen, "source"), _padded(specimen), strict=False)
    ]
    rows.append(["`anchor.event.wait`", SIGNAL["source"], SIGNAL["subject"]])
    return _table(["kind", "source", "subject"], rows)


def _padded(specimen: Specimen) -> list[str]:
    sources, subjects = origins(specimen, "source"), origins(specimen, "subject")
    return subjects if len(sources) == len(subjects) else [_alternatives(subjects)]


def _times() -> str:
    """`time` of operations and invocations, which depends on their status."""
    work = next(specimen for specimen in SPECIMENS if "status" in specimen.fixed)
    found: dict[str, list[str]] = {}
    for status in STATUSES:
        found.setdefault(_alternatives(origins(work, "time", instead={"status": status})), []).append(f"`{status}`")
    return _table(["status", "`time`"], ([", ".join(statuses), times] for times, statuses in found.items()))


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
