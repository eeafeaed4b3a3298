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
OPEN_REPLAY = _load("open_destination", 3)
TAKE = _load("take", 7)
SETTLE = _load("settle", 7)
PENDING = _load("pending", 7)
MARK = _load("mark", 2)
AGAIN = _load("again", 9)
LETTERS = _load("letters", 2)
ASK = _load("ask", 4)
DROP = _load("drop", 2)
ASK_REPLAY = _load("ask_replay", 3)
CLOSE_REPLAY = _load("close_replay", 9)
TRIM = _load("trim", 1)
FOLLOW_OPEN = _load("follow_open", 2)
ADVANCE = _load("advance", 2)
BURY = _load("bury", 2)
FAN_OUT_OPEN = _load("fan_out_open", 1)
FAN_OUT = _load("fan_out", 1)
PARKED = _load("parked", 1)
TAIL = _load("tail", 1)
SET_CURSOR = _load("set_cursor", 2)
DEFINE = _load("define", 3)
FORGET_DESTINATION = _load("forget_destination", 8)
LOOK = _load("look", 2)
