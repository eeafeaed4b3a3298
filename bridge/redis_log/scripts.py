"""The Lua scripts, read once from the `.lua` files beside this module. Refuses to build script text at run time."""

import hashlib
from importlib.resources import files

from bridge.redis_log.link import Script


def _load(name: str, keys: int) -> Script:
    text = files("bridge.redis_log").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), keys)


APPEND = _load("append", 4)
ARM = _load("arm", 1)
OPEN_SOURCE = _load("open_source", 2)
OPEN_DESTINATION = _load("open_destination", 2)
TAKE = _load("take", 5)
SETTLE = _load("settle", 6)
TRIM = _load("trim", 1)
