"""Turns what upstreams say into events. Pure: no I/O, no clock, no logging."""
