"""Renews the table of outcomes in a page: `python -m bridge.sources docs/operations.md`. Touches nothing else in it."""

import sys
from pathlib import Path

from bridge.sources.reference import renewed

for _page in map(Path, sys.argv[1:]):
    _page.write_text(renewed(_page.read_text()))
