"""Copies of the package with a guard taken out, for the negative controls. The package itself has no switch for it.

Text is cut out of a copy; where the text is no longer there, the control fails aloud instead of proving nothing.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon import package


def _guard(name: str) -> str:
    return rf"-- guard: {name}\n.*?-- end guard\n"


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is taken out, in words, and how: file below `redis_log/lua` -> expression and its replacement."""

    without: str
    edits: Mapping[str, tuple[tuple[str, str], ...]]


COMPARE = Mutant(
    "compare of the sequence",
    {name: ((_guard("compare"), ""),) for name in ("append.lua", "arm.lua")},
)
FENCE = Mutant(
    "fence",
    {name: ((_guard("fence"), ""),) for name in ("append.lua", "arm.lua", "open_source.lua")},
)
BOTH = Mutant(
    "compare and fence",
    {
        **{name: ((_guard("compare"), ""), (_guard("fence"), "")) for name in ("append.lua", "arm.lua")},
        "open_source.lua": ((_guard("fence"), ""),),
    },
)
WINDOW = Mutant("stored window", {"open_source.lua": ((r"redis\.call\('LRANGE', KEYS\[2\], 0, -1\)", "{}"),)})
ARMED = Mutant("mark of a wait", {"arm.lua": ((r"'armed', ARGV\[4\]", "'armed', '0'"),)})
ATTEMPTS = Mutant(
    "stored attempts", {"settle.lua": ((r"(wait\(entry, )ARGV\[7\](, now \+ tonumber\(ARGV\[8\]\))", r"\g<1>0\2"),)}
)


def breed(mutant: Mutant, directory: Path) -> Path:
    """Write the mutant's package below `directory`; the directory that holds it. AssertionError if nothing changed."""
    copy = directory / "mutant"
    shutil.copytree(package() / "bridge", copy / "bridge", ignore=shutil.ignore_patterns("__pycache__"))
    for name, edits in mutant.edits.items():
        path = copy / "bridge" / "redis_log" / "lua" / name
        text = path.read_text(encoding="utf-8")
        for expression, replacement in edits:
            text, count = re.subn(expression, replacement, text, flags=re.DOTALL)
            assert count, f"{name} no longer has what the control takes out: {expression}"
        path.write_text(text, encoding="utf-8")
    return copy
