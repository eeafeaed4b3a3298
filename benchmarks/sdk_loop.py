"""The loop that a user writes: the official SDK's iterator, XADD, SET of the cursor, one event after the other.

python -m benchmarks.sdk_loop UPSTREAM REDIS RUN KEY
"""

import json
import sys

import redis
from bctrl import Bctrl


def main(upstream: str, redis_url: str, run: str, key: str) -> None:
    client = redis.Redis.from_url(redis_url)
    for event in Bctrl(api_key="k", base_url=upstream).runs.events.stream(run):
        data = event["data"]
        fields = {"id": data["id"], "type": data["type"], "subject": run, "event": json.dumps(data)}
        client.xadd(key, fields)
        client.set(f"{key}:cursor", data["id"])


if __name__ == "__main__":
    main(*sys.argv[1:])
