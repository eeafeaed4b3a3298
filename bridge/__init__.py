"""runbridge: run event streams and named events in, Redis Streams and signed webhooks out."""
