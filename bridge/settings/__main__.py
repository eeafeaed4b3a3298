"""Prints the reference of all keys: `python -m bridge.settings > docs/configuration.md`. Reads no configuration."""

import sys

from bridge.settings.reference import markdown

sys.stdout.write(markdown())
