"""Renews the table of outcomes in a page: `python -m bridge.delivery docs/operations.md`. Touches nothing else."""

import sys
from pathlib import Path

from bridge.delivery.reference import renewed

for _page in map(Path, sys.argv[1:]):
    _page.write_text(renewed(_page.read_text()))
