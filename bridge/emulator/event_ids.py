"""Numbers the events of a run: an id is made of run, seed and index, and read back. Pure: nothing is stored."""

import base64
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

    def cursor(self, index: int) -> str:
        """The cursor of the event wait that stands before the event at `index`; no event id, on purpose."""
        return f"cur_{base64.b32encode(f'{self.prefix}{index}'.encode()).decode().rstrip('=').lower()}"

    def index_of_cursor(self, cursor: str) -> int | None:
        """The index that a cursor of this run and seed stands before; None for any other text."""
        letters = cursor.removeprefix("cur_").upper()
        try:
            place = base64.b32decode(letters + "=" * (-len(letters) % 8)).decode()
            index = int(place.removeprefix(self.prefix))
        except ValueError:
            return None
        return index if index >= 0 and self.cursor(index) == cursor else None
