"""mq-bridge from its wheel to a webhook, unsigned and unordered: from Redis Streams or Server-Sent Events. Its defaults.

python -m benchmarks.mq_webhook REDIS RECEIVER EVENTS LANES TOGETHER BATCH [UPSTREAM]
"""

import sys

import mq_bridge

STREAM = "mq"
"""The stream that it reads: entries of one field, `payload`, as it writes them itself."""


def main(
    redis_url: str, receiver: str, events: str, lanes: str, together: str, _batch: str, upstream: str = ""
) -> None:
    source: dict[str, object]
    if upstream:
        path = f"/v2/runs/ready-{events}-{lanes}-{together}/events/stream"
        read = {"path": path, "stream": "sse", "cursor_id": "bench"}
        source = {"http_bulk": {"url": upstream, "read": read}}
    else:
        source = {"redis_streams": {"url": redis_url, "stream": STREAM, "read_from_start": True}}
    mq_bridge.Route.from_config({"input": source, "output": {"http": {"url": receiver}}}).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
