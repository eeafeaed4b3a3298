"""Gathers what is wrong with a command's options, so that all of it is told at once. Judges nothing itself."""

import contextlib
from collections.abc import Iterator


class Mistakes(ValueError):
    """What is wrong, one text each, without a secret."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def __str__(self) -> str:
        if len(self.texts) < 2:
            return "".join(self.texts)
        lines = (text.replace("\n", "\n    ") for text in self.texts)
        return f"{len(self.texts)} mistakes:" + "".join(f"\n  {line}" for line in lines)

    @contextlib.contextmanager
    def noted(self, option: str = "") -> Iterator[None]:
        """Keeps the ValueError of a block, which may be several mistakes; `option` is what it is about."""
        try:
            yield
        except Mistakes as several:
            self.texts += several.texts
        except ValueError as error:
            self.texts.append(f"{option}: {error}" if option else str(error))

    def over(self) -> None:
        """Raises itself where there was one."""
        if self.texts:
            raise self
