"""The command `runbridge`; also `python -m bridge`."""

import sys

INTERRUPTED = 130  # 128 and SIGINT, as a shell counts


def main() -> None:
    """Run the command line. A Ctrl-C before a command has begun ends it without a stack trace."""
    try:
        from bridge.cli import app  # noqa: PLC0415  # importing takes long enough to be interrupted

        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
