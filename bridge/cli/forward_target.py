"""Where `runbridge listen` sends to, judged before anything is sent: URL, form, headers, secret, certificate.

Any address will do, unlike for a destination: somebody typed it by hand, on the machine that dials it.
"""

import ipaddress
import secrets as random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from bridge.cli.keys import key_in
from bridge.cli.mistakes import Mistakes
from bridge.delivery.form import form
from bridge.dial import Tls
from bridge.settings import Settings
from bridge.settings.addresses import shown_url
from bridge.settings.headers import webhook_name, webhook_value
from bridge.signing import Signer, SigningKey, signing_key, text_of
from bridge.target import target_of
from bridge.webhook import Endpoint

BodyFormat = Literal["structured", "binary", "thin", "batched"]


@dataclass(frozen=True, slots=True, repr=False)
class ForwardTarget:
    """Where events go and how. Its repr shows nothing: it holds a secret."""

    url: str
    format: BodyFormat
    headers: tuple[tuple[str, str], ...]
    key: SigningKey
    made: bool
    """The secret was made for this session, so somebody has to be told it."""
    tls: Tls

    def endpoint(self, settings: Settings, partition: int) -> Endpoint:
        """As of a webhook destination."""
        base = f"{settings.http.links}/v1/events/{partition}-"
        return Endpoint(
            "listen", self.url, form(self.format, lambda entry: base + entry.entry), Signer([self.key]),
            headers=self.headers,
        )  # fmt: skip

    @property
    def ready(self) -> str:
        """What somebody has to be told once, when all is ready: the secret, where it was made for this session."""
        secret = f"Your signing secret is {text_of(self.key)}" if self.made else "Signed with the secret you gave"
        return f"Ready. {secret} (events go to {shown_url(self.url)}, Ctrl-C ends)"


def forward_target(
    to: str, body_format: BodyFormat, headers: Sequence[str] = (), *, secret: str = "", secret_file: Path | None = None,
    ca_file: Path | None = None, skip_verify: bool = False,
) -> ForwardTarget:  # fmt: skip
    """The target that options say. Raises Mistakes, all at once, with what to do, and without a secret."""
    url = to if "://" in to else f"http://{to}"
    wrong, key, tls = Mistakes(), None, Tls()
    pairs: list[tuple[str, str]] = []
    with wrong.noted("--forward-to"):
        target_of(url)
        with wrong.noted():  # which says what options it is about
            tls = _tls(url, ca_file, skip_verify=skip_verify)
    with wrong.noted():
        key = _key(secret, secret_file)
    for each in headers:
        with wrong.noted():
            pairs.append(_header(each))
    wrong.over()
    return ForwardTarget(
        url, body_format, tuple(pairs), random.token_bytes(32) if key is None else key, key is None, tls
    )  # fmt: skip


def _key(secret: str, file: Path | None) -> SigningKey | None:
    if secret and file:
        raise ValueError("--secret and --secret-file exclude each other")
    if file:
        return key_in(file, signing_key)
    try:
        return signing_key(secret) if secret else None
    except ValueError as error:  # which doesn't show it
        raise ValueError(f"--secret: {error}") from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError("--header: expected 'NAME: VALUE'")
    try:
        return webhook_name(name.strip()), webhook_value(value.strip())
    except ValueError as error:
        raise ValueError(f"--header {name.strip()[:64]!r} {error}") from None


class Unverified(Tls):
    """Takes any certificate, whomever it names."""

    def context(self) -> ssl.SSLContext:
        """TLS without a look at who answers."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


def _tls(url: str, ca_file: Path | None, *, skip_verify: bool) -> Tls:
    """How a certificate is judged. Any is taken from this machine only: nobody stands in between there."""
    parts = urlsplit(url)
    if (skip_verify or ca_file) and parts.scheme != "https":
        raise ValueError("--skip-verify and --ca-file are for https:// alone")
    if not skip_verify:
        return Tls(ca_file=str(ca_file) if ca_file else "")
    if ca_file or not _here(parts.hostname or ""):
        raise ValueError("--skip-verify is for a server on this machine (localhost); elsewhere say --ca-file FILE")
    return Unverified()


def _here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
