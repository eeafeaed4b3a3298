"""mq-bridge from its wheel: SSE in, cursor in a file, Redis Streams out. Its defaults otherwise.

python -m benchmarks.mq_route UPSTREAM REDIS RUN KEY CHECKPOINT_FILE
"""

import sys

import mq_bridge


def main(upstream: str, redis_url: str, run: str, key: str, checkpoint: str) -> None:
    read = {
        "path": f"/v2/runs/{run}/events/stream",
        "stream": "sse",
        "cursor_id": "bench",
        "checkpoint_store": f"file://{checkpoint}",
    }
    route = mq_bridge.Route.from_config(
        {
            "input": {"http_bulk": {"url": upstream, "headers": {"Authorization": "Bearer k"}, "read": read}},
            "output": {"redis_streams": {"url": redis_url, "stream": key}},
        }
    )
    route.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
