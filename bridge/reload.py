"""What of a configuration may change while the bridge runs, and what has changed. Pure; shows no value."""

from bridge.errors import Problem
from bridge.settings import Settings

FIXED = (
    "redis.url", "log.prefix", "log.partitions", "log.dedup_window", "log.min_replicas_acked", "spool", "instance"
)  # fmt: skip
"""Keys that are read once, at the start."""
_TABLES = ("redis", "log", "http", "logging")


def differences(old: Settings, new: Settings) -> list[str]:
    """The key paths that have another value, but for those of accounts, sources and destinations."""
    found = [key for key in ("grace", "spool", "instance") if getattr(old, key) != getattr(new, key)]
    for table in _TABLES:
        before, after = getattr(old, table), getattr(new, table)
        found += [f"{table}.{key}" for key in type(after).model_fields if getattr(before, key) != getattr(after, key)]
    return found


def refusals(changed: list[str]) -> tuple[Problem, ...]:
    """Why a configuration with these changes can't be put in force."""
    return tuple(
        Problem(key, "can't be changed while the bridge runs; put it back, or restart the bridge for it")
        for key in changed
        if key in FIXED
    )
