"""Numbers the events of a run: an id is made of run, seed and index, and read back. Pure: nothing is stored."""

import zlib

_DIGITS = 12


class EventIds:
    """The ids `evt_<run and seed><index>` of one run; they sort as their indexes do."""

    def __init__(self, run: str, seed: int) -> None:
        self.prefix = f"evt_{zlib.crc32(f'{seed}:{run}'.encode()):08x}"

    def at(self, index: int) -> str:
        """The id of the event at `index`."""
        return f"{self.prefix}{index:0{_DIGITS}d}"

    def index_of(self, id_: str) -> int | None:
        """The index that an id of this run and seed was made of; None for any other text."""
        digits = id_.removeprefix(self.prefix)
        made_here = id_.startswith(self.prefix) and len(digits) == _DIGITS and digits.isascii() and digits.isdigit()
        return int(digits) if made_here else None
