"""Copies of the package with a guard taken out, for the negative controls. The package itself has no switch for it.

Text is cut out of a copy; where the text is no longer there, the control fails aloud instead of proving nothing.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon import package

APPEND, ARM, OPEN_SOURCE, SETTLE, TAKE = (
    f"redis_log/lua/{name}.lua" for name in ("append", "arm", "open_source", "settle", "take")
)


def _guard(name: str) -> str:
    return rf"-- guard: {name}\n.*?-- end guard\n"


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is taken out, in words, and how: file below `bridge` -> expression and its replacement."""

    without: str
    edits: Mapping[str, tuple[tuple[str, str], ...]]


COMPARE = Mutant(
    "compare of the sequence",
    {name: ((_guard("compare"), ""),) for name in (APPEND, ARM)},
)
FENCE = Mutant(
    "fence",
    {name: ((_guard("fence"), ""),) for name in (APPEND, ARM, OPEN_SOURCE)},
)
BOTH = Mutant(
    "compare and fence",
    {
        **{name: ((_guard("compare"), ""), (_guard("fence"), "")) for name in (APPEND, ARM)},
        OPEN_SOURCE: ((_guard("fence"), ""),),
    },
)
WINDOW = Mutant("stored window", {OPEN_SOURCE: ((r"redis\.call\('LRANGE', KEYS\[2\], 0, -1\)", "{}"),)})
ARMED = Mutant("mark of a wait", {ARM: ((r"'armed', ARGV\[4\]", "'armed', '0'"),)})
ATTEMPTS = Mutant(
    "stored attempts", {SETTLE: ((r"(wait\(ids, )ARGV\[7\](, now \+ tonumber\(ARGV\[8\]\))", r"\g<1>'0 0'\2"),)}
)
CLAIMS = Mutant("claims", {TAKE: ((r"redis\.call\(unpack\(some\)\)", "redis.call('PING')"),)})
LANES = Mutant("joining of waiting lanes", {TAKE: ((r"if waiting > 0 then(\s+if ARGV\[8\])", r"if false then\1"),)})
IDENTITY = Mutant(
    "webhook-id that stays",
    {"signing.py": ((r"blake2b\(identity, ", "blake2b(identity + str(id(event_id)).encode(), "),)},
)
KNOWN = Mutant(
    "outcomes known over an outage of Redis",
    {"deliver.py": ((r"self\._known \| self\._telling \| self\._unconfirmed", "dict[Key, Outcome]()"),)},
)
CLOCK = Mutant(
    "clock that goes on over restarts",
    {"redis_log/delivery_clock.py": ((r"max\(wall - then, 0\.0\)", r"\g<0> + 5.0"),)},
)

CURSOR = Mutant("stored cursor", {APPEND: ((r"if ARGV\[5\] == '1'", "if false"),)})
BOOKMARK = Mutant("stored bookmark", {APPEND: ((r"if ARGV\[13\] == '1'", "if false"),)})
ENDED = Mutant("stored end", {APPEND: ((r"if ARGV\[7\] ~= ''", "if ARGV[7] ~= '' and ARGV[7] ~= 'ended'"),)})
DEDUP = Mutant("dropping of known ids", {"redis_log/writer.py": ((r"if key in ids:", "if not key:"),)})
NULL_CURSOR = Mutant(
    "keeping the cursor when a null one comes",
    {
        "sources/run_events_wait.py": (
            (r"answer\.cursor if answer\.cursor != cursor else None", 'answer.cursor or ""'),
            (r"cursor = answer\.cursor or cursor", 'cursor = answer.cursor or ""'),
        )
    },
)
UNSAID = Mutant(
    "event of a gap",
    {"sources/subscription.py": ((r'(said = .*?"certain": True\}\n\s+batch = )[^\n]*', r"\g<1>Batch()"),)},
)


def breed(mutant: Mutant, directory: Path) -> Path:
    """Write the mutant's package below `directory`; the directory that holds it. AssertionError if nothing changed."""
    copy = directory / "mutant"
    shutil.copytree(package() / "bridge", copy / "bridge", ignore=shutil.ignore_patterns("__pycache__"))
    for name, edits in mutant.edits.items():
        path = copy / "bridge" / name
        text = path.read_text(encoding="utf-8")
        for expression, replacement in edits:
            text, count = re.subn(expression, replacement, text, flags=re.DOTALL)
            assert count, f"{name} no longer has what the control takes out: {expression}"
        path.write_text(text, encoding="utf-8")
    return copy
