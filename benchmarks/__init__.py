"""Speed, latency and memory of the real daemon, beside other ways to do its job. `python -m benchmarks --help`."""
