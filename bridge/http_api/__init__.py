"""The bridge's own HTTP server: health, metrics, the status page, and the control API. Steers through `Steering` only.

`table` has every operation; the routes (`server`) and the document (`openapi`) are made from it.
"""

from bridge.http_api.guard import Access
from bridge.http_api.served import Readiness
from bridge.http_api.server import FOLLOWERS, MOST, WAITING, HttpApi

__all__ = ["FOLLOWERS", "MOST", "WAITING", "Access", "HttpApi", "Readiness"]
