"""Signals and waits through an older official SDK, anchorbrowser 0.11.3, and prints what came of it as JSON.

A program of its own: `python sdk_anchor.py URL`, with that SDK's directory first on the path.
"""

import json
import sys
from importlib.metadata import version
from typing import Any

from anchorbrowser import Anchorbrowser, APIStatusError


def main(url: str) -> dict[str, Any]:
    """A signal before its wait, for a name that has to be escaped, and a wait that gets nothing."""
    strict = {"max_retries": 0, "timeout": 10.0, "_strict_response_validation": True}
    events: Any = Anchorbrowser(api_key="k", base_url=url, **strict).events  # type: ignore[arg-type]
    signaled = events.signal("a/b ü", data={"code": "1"}).to_dict()
    got = events.wait_for("a/b ü", timeout_ms=1000).data
    try:
        events.wait_for("a/b ü", timeout_ms=1)
    except APIStatusError as late:
        return {"signaled": signaled, "got": got, "late": [late.status_code, late.body]}
    return {"signaled": signaled, "got": got, "late": None}


if __name__ == "__main__":
    print(json.dumps({"version": version("anchorbrowser"), **main(sys.argv[1])}))
