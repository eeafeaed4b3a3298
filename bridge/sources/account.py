"""An upstream account: where it is, how it is asked, and the names of its resources. Never shows its key."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from bridge.http_client import HttpClient


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """One account of section `[accounts]` with its own pool of connections."""

    name: str
    provider: str
    base_url: str
    key: str
    client: HttpClient

    @property
    def credentials(self) -> Mapping[str, str]:
        """The header that carries the key."""
        if self.provider == "anchor":
            return {"anchor-api-key": self.key}
        return {"Authorization": f"Bearer {self.key}"}

    def hide(self, said: bytes) -> bytes:
        """What the upstream said, without this account's key: an error message may repeat it."""
        return said.replace(self.key.encode(), b"***")

    def url(self, *segments: str) -> str:
        """An address below the base URL; each segment is percent-encoded whole, `/` and dots in it too."""
        return below(self.base_url, *segments)

    def __repr__(self) -> str:
        return f"Account({self.name!r}, {self.base_url!r})"


def below(base_url: str, *segments: str) -> str:
    """An address below a base URL; each segment is percent-encoded whole."""
    return "/".join((base_url.rstrip("/"), *map(segment, segments)))


def segment(text: str) -> str:
    """`text` as one path segment. `.` and `..` are encoded as well, or they would climb."""
    encoded = quote(text, safe="")
    return encoded.replace(".", "%2E") if encoded in {".", ".."} else encoded
