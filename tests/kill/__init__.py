"""The kill suite: real processes, killed, frozen and cut off at random moments, and every event counted afterwards.

`python -m tests.kill` runs it whole; `tests/test_exactly_once.py` runs a quick form of it. Knows the bridge only from
outside: its command, its configuration, its keys and its log lines.
"""
