"""Says what the older bctrl APIs call the same thing: category, kind and the two meanings of source. Pure.

The documents give the words of each API and not how they go together; the tables here go by the names.
"""

from typing import Final

CATEGORIES: Final = ("runtime", "command", "network", "console", "file", "tool", "browser", "captcha", "event")
KINDS: Final = ("command", "network", "console", "artifact", "tool_call", "runtime", "browser", "event")
ORIGINS: Final = ("platform", "connection", "runtime", "artifact", "tool")  # `source` of the event wait

_KIND_OF = {"file": "artifact", "tool": "tool_call", "captcha": "browser"}
_ORIGIN_OF = {
    "command": "connection",
    "network": "runtime",
    "console": "runtime",
    "runtime": "runtime",
    "browser": "runtime",
    "artifact": "artifact",
    "tool_call": "tool",
}
_SOURCE_OF = {
    "runtime": "control-plane",
    "command": "gateway",
    "network": "cdp",
    "console": "cdp",
    "browser": "cdp",
    "file": "browser-host",
    "tool": "runtime-agent",
    "captcha": "runtime-agent",
}
SOURCES: Final = frozenset((*_SOURCE_OF.values(), "webdriver"))  # `source` of the run event list of late July 2026


def kind_of(category: object) -> str:
    """The `kind` of the event wait for a `category` of the v2 stream."""
    if not isinstance(category, str):
        return "event"
    return _KIND_OF.get(category, category if category in KINDS else "event")


def origin_of(kind: str) -> str:
    """The `source` of the event wait for a kind."""
    return _ORIGIN_OF.get(kind, "platform")


def source_of(category: object) -> str:
    """The `source` of the run event list of late July 2026 for a category."""
    return _SOURCE_OF.get(category, "control-plane") if isinstance(category, str) else "control-plane"
