"""The command `runbridge`; also `python -m bridge`."""

import signal
import sys
from types import FrameType

INTERRUPTED = 130  # 128 and SIGINT, as a shell counts


def main() -> None:
    """Run the command line. A signal before a command has begun ends it without a stack trace."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what it puts behind with it ignored
    try:
        if sys.argv[1:] in (["health"], ["health", "--ready"]):  # as probes ask, time and again: without all the rest
            from bridge.health import probe  # noqa: PLC0415  # importing takes long enough to be interrupted

            sys.exit(probe(ready="--ready" in sys.argv))
        from bridge.cli import app  # noqa: PLC0415  # importing takes long enough to be interrupted

        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _end(_number: int, _frame: FrameType | None) -> None:
    """For SIGTERM, until a command has a handler of its own: nothing is in hand yet, so this is a clean stop."""
    sys.exit(0)


if __name__ == "__main__":
    main()
