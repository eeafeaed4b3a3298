"""Reads and writes durations ("20s") and sizes ("8MiB"). Pure; no error repeats what was given."""

import re

LONGEST_SECONDS = 3650 * 86400.0  # ten years: anything above is a mistyped number, and timers stay exact below
LARGEST_BYTES = 1 << 40  # 1 TiB: the bound of the notation; each key has a smaller one of its own

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,13})(B|KiB|MiB|GiB)?")
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(?:/([smh]))?")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_BYTES = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}

DURATION_FORM = 'a duration such as "250ms", "20s", "5m", "2h" or "7d", or a number of seconds'
DURATION_OR_OFF_FORM = f'{DURATION_FORM}, or "off"'
RATE_FORM = 'a number a second or a text such as "100/s", "600/m" or "10/h"; from 1/h to 100000/s'
SIZE_FORM = 'a size such as "512KiB" or "8MiB", or a number of bytes'


def duration(value: object) -> float:
    """Returns seconds, 0 to ten years, from a text with a unit or a number of seconds.

    Raises:
        ValueError: `value` is neither, or out of range.
    """
    seconds: float | int
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = float(match[1]) * _SECONDS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    else:
        raise ValueError(f"expected {DURATION_FORM}")
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"expected {DURATION_FORM}; at least 0 and at most 3650d")
    return float(seconds)


def duration_or_off(value: object) -> float:
    """Returns what `duration` does, and 0 for "off". Raises ValueError as it does."""
    try:
        return 0.0 if value == "off" else duration(value)
    except ValueError as error:
        raise ValueError(f'{error}; or "off"') from None


def rate(value: object) -> float:
    """Returns how many a second, 1/3600 to 100,000, from a number or a text such as "600/m".

    Raises:
        ValueError: `value` is neither, or out of range.
    """
    found: float | int
    if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())):
        found = float(match[1]) / _SECONDS[match[2] or "s"]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = value
    else:
        raise ValueError(f"expected {RATE_FORM}")
    if not 1 / 3600 <= found <= 100_000:
        raise ValueError(f"expected {RATE_FORM}")
    return float(found)


def size(value: object) -> int:
    """Returns bytes, 0 to 1 TiB, from a text with a binary unit or a whole number of bytes.

    Raises:
        ValueError: `value` is neither, or out of range.
    """
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        count = int(match[1]) * _BYTES[match[2] or "B"]
    elif isinstance(value, int) and not isinstance(value, bool):
        count = value
    else:
        raise ValueError(f"expected {SIZE_FORM}")
    if not 0 <= count <= LARGEST_BYTES:
        raise ValueError(f"expected {SIZE_FORM}; at least 0 and at most 1024GiB")
    return count


def duration_text(seconds: float) -> str:
    """Returns the shortest exact text that `duration` reads back, such as 20s for 20.0."""
    for unit, length in _SECONDS.items():
        if seconds >= length and (seconds / length).is_integer():
            return f"{int(seconds / length)}{unit}"
    return f"{seconds:g}s"


def size_text(count: int) -> str:
    """Returns the shortest exact text that `size` reads back, such as 8MiB for 8388608."""
    for unit, length in _BYTES.items():
        if count >= length and count % length == 0:
            return f"{count // length}{unit}"
    return f"{count}B"
