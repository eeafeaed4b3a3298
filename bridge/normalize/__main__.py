"""Prints the reference of the events: `python -m bridge.normalize > docs/events.md`. Reads nothing."""

import sys

from bridge.normalize.reference import markdown

sys.stdout.write(markdown())
