"""HTTPS servers for tests, with certificates of an authority of their own."""

import ssl

import trustme
from posting import Server


def server_side(authority: trustme.CA, *names: str, clients: bool = False) -> ssl.SSLContext:
    """A server's context, with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    if clients:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def secure(server: Server, host: str = "localhost") -> str:
    """Its URL."""
    return f"https://{host}:{server.port}/hook"
