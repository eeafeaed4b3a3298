"""What documents show: their fenced blocks, and the lines of a console with what they print. Runs nothing.

In a console block a line that starts with `$ ` is typed in, together with those after it where it ends in a backslash;
what follows is printed. `...` stands there for anything, alone on its line for any number of lines; numbers, ids and
times are not compared.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARYING = re.compile(
    r"(?<![A-Za-z0-9])(?=[a-f]*\d)[0-9a-f-]{6,}(?![A-Za-z0-9])"  # ids
    r"|\d[\dT:.,Z-]*(?:ms|s|m|h|d)?(?![A-Za-z0-9])"  # numbers, times, how long
)


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` is where it begins."""

    document: str
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.document}:{self.line} {self.language}"


@dataclass(frozen=True)
class Step:
    """A line that is typed in, and what it prints; nothing is said of that where it is empty."""

    command: str
    printed: list[str] = field(default_factory=list)


def blocks(path: Path) -> list[Block]:
    """All of a document, in their order."""
    text = path.read_text()
    name = str(path.relative_to(ROOT))
    return [Block(name, at[1], at[2], text.count("\n", 0, at.start()) + 1) for at in _FENCE.finditer(text)]


def steps(console: str) -> list[Step]:
    """What is typed in, and what follows."""
    found: list[Step] = []
    lines = iter(console.splitlines())
    for line in lines:
        if line.startswith("$ "):
            typed = [line[2:]]
            while typed[-1].endswith("\\"):
                typed.append(next(lines))
            found.append(Step("\n".join(typed)))
        else:
            found[-1].printed.append(line)
    return found


def unlike(printed: str, shown: list[str]) -> str | None:
    """The first line shown that isn't among what was printed, from top to bottom; None where all are."""
    lines = [_even(line) for line in printed.splitlines() if line.strip()]
    skips = False
    for line in shown:
        if line.strip() == "...":
            skips = True
        elif line.strip():
            pattern = ".*".join(re.escape(_even(part)) for part in line.split("..."))
            at = next((i for i, one in enumerate(lines) if re.fullmatch(pattern, one)), None)
            if at is None or (at > 0 and not skips):
                return line
            lines, skips = lines[at + 1 :], False
    return None if skips or not lines else f"nothing more, instead of {lines[0]}"


def _even(line: str) -> str:
    """Without what differs each time, and with single blanks."""
    return re.sub(r"\s+", " ", _VARYING.sub("#", line)).strip()
