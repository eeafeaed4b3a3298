"""Names upstream resources: the CloudEvents `source` of their events, and the addresses of their calls. Pure."""

from functools import lru_cache
from urllib.parse import quote


@lru_cache(maxsize=4096)  # an account's stream asks for the same runs over and over
def below(base_url: str, *segments: str) -> str:
    """An address below a base URL; each segment is percent-encoded whole, `/` and dots in it too."""
    return "/".join((base_url.rstrip("/"), *map(segment, segments)))


def segment(text: str) -> str:
    """`text` as one path segment. `.` and `..` are encoded as well, or they would climb."""
    encoded = quote(text, safe="")
    return encoded.replace(".", "%2E") if encoded in {".", ".."} else encoded
