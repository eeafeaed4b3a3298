"""The status page as one response: its files put together once, and the headers that fence it in. Serves nothing.

The page holds no data and needs no token: its script reads `/v1/live` and asks the control API. index.html names its
style sheet and scripts as files, which are put in their places here, so that a browser loads nothing else.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType

_LINK = re.compile(r'<link rel="stylesheet" href="([a-z]+\.css)">|<script src="([a-z]+\.js)"></script>')


def _inlined() -> tuple[str, list[str], list[str]]:
    """The page, and what its policy allows: the hashes of its styles and of its scripts (CSP 3, section 2.3.1)."""
    here = files(__name__)
    styles: list[str] = []
    scripts: list[str] = []

    def content(link: re.Match[str]) -> str:
        text = (here / (link[1] or link[2])).read_text(encoding="utf-8")
        digest = b64encode(sha256(text.encode()).digest()).decode()
        (styles if link[1] else scripts).append(f"'sha256-{digest}'")
        return f"<style>{text}</style>" if link[1] else f"<script>{text}</script>"

    page = _LINK.sub(content, (here / "index.html").read_text(encoding="utf-8"))
    return page, styles, scripts


def _policy(styles: list[str], scripts: list[str]) -> str:
    return "; ".join([
        "default-src 'none'", f"script-src {' '.join(scripts)}", f"style-src {' '.join(styles)}", "connect-src 'self'",
        "img-src data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
        "require-trusted-types-for 'script'", "trusted-types 'none'",  # no text becomes markup, whatever a script does
    ])  # fmt: skip


_page, _styles, _scripts = _inlined()

PAGE: bytes = _page.encode()
"""The whole page, UTF-8."""

POLICY: str = _policy(_styles, _scripts)
"""Its Content-Security-Policy (https://www.w3.org/TR/CSP3/): only its own script and style, only its own origin."""

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }
)
"""All headers of the response."""
