"""What a case found, counted. Pure: compares what was sent with what arrived, and knows no servers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(slots=True)
class Findings:
    """The counts of one case; `faults` are broken promises that are no count, `notes` only inform."""

    events: int = 0
    kills: int = 0
    duplicates: int = 0
    missing: int = 0
    disordered: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """True if every event was there once, in order, and nothing else was wrong."""
        return not (self.duplicates or self.missing or self.disordered or self.faults)

    def count(self, sent: Sequence[str], arrived: Sequence[str]) -> None:
        """Compare one source's ids: each of `sent` belongs into `arrived` once, in this order, and nothing else."""
        order = {id_: at for at, id_ in enumerate(sent)}
        firsts = list(dict.fromkeys(arrived))
        known = [order[id_] for id_ in firsts if id_ in order]
        self.events += len(sent)
        self.duplicates += len(arrived) - len(firsts)
        self.missing += len(sent) - len(known)
        self.disordered += sum(later < earlier for earlier, later in pairwise(known))
        if unknown := [id_ for id_ in firsts if id_ not in order]:
            self.faults.append(f"{len(unknown)} entries that nobody sent, such as {unknown[0]}")

    def check(self, promise: bool, fault: str) -> None:
        """Note a fault where a promise is broken."""
        if not promise:
            self.faults.append(fault)


def table(rows: Iterable[tuple[str, Findings, str]]) -> Iterable[str]:
    """Lines of text: a heading, then a line for each case, its findings and its verdict, as they come."""
    yield f"{'case':54} {'events':>7} {'kills':>5} {'duplicates':>10} {'missing':>7} {'out of order':>12}  verdict"
    for title, found, verdict in rows:
        counts = f"{found.duplicates:>10} {found.missing:>7} {found.disordered:>12}"
        yield f"{title:54} {found.events:>7} {found.kills:>5} {counts}  {verdict}"
        for line in (*(f"! {fault}" for fault in found.faults[:5]), *found.notes):
            yield f"    {line}"


def numbered(sequences: Sequence[str]) -> bool:
    """True if a source's events carry 1, 2, 3, ... without a hole."""
    return [int(sequence) for sequence in sequences] == list(range(1, len(sequences) + 1))


def by_subject(entries: Iterable[Mapping[str, str]]) -> dict[str, list[Mapping[str, str]]]:
    """The entries of the log, apart by subject, each in the order of the log."""
    apart: dict[str, list[Mapping[str, str]]] = {}
    for entry in entries:
        apart.setdefault(entry["subject"], []).append(entry)
    return apart
