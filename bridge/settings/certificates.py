"""Tries the TLS files of destinations, as a connection will. Refuses to show what is in them."""

import ssl
from collections.abc import Generator, Iterator
from pathlib import Path as File
from typing import Any

from bridge.settings.destinations import WEBHOOK, kind_of
from bridge.settings.files import Unreadable, text_in
from bridge.settings.shape import Finding, Path, entries, one_line, table, text_of

LARGEST = 1 << 20
"""Bytes of one file; the certificates of all public authorities have some 220,000."""

_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_KEY = "PRIVATE KEY-----"


class _Encrypted(Exception):  # a reason on its way to a Finding, never seen outside
    """The key asks for a passphrase, and there is nobody to type it."""


def findings(tables: dict[str, Any]) -> Iterator[Finding]:
    """What is wrong with the files that `tls` of each destination names; their paths are absolute already."""
    for name, destination in entries(tables, "destinations"):
        tls = table(destination, "tls")
        if kind_of(destination) == WEBHOOK:
            path = ("destinations", name, "tls")
            if text_of(tls, "key_file") and not text_of(tls, "cert_file"):
                yield Finding((*path, "key_file"), "is the key of a certificate; name that too, in cert_file")
            yield from _authorities(path, text_of(tls, "ca_file"))
            yield from _own(path, text_of(tls, "cert_file"), text_of(tls, "key_file"))


def _authorities(path: Path, ca_file: str) -> Iterator[Finding]:
    if not ca_file:
        return
    here = (*path, "ca_file")
    text = yield from _pem(here, ca_file, _CERTIFICATE, "certificate")
    if text and not _loads(ca_file):
        yield Finding(here, f"{one_line(ca_file)} has a certificate in it that can't be read")


def _own(path: Path, cert_file: str, key_file: str) -> Iterator[Finding]:
    certificate = key = ""
    if cert_file:
        certificate = yield from _pem((*path, "cert_file"), cert_file, _CERTIFICATE, "certificate")
    if key_file:
        key = yield from _pem((*path, "key_file"), key_file, _KEY, "private key")
    if certificate and not key_file and _KEY not in certificate:
        yield Finding(
            (*path, "cert_file"), f"{one_line(cert_file)} has no private key in it; name its file in key_file"
        )
    elif certificate and not _loads(cert_file):
        yield Finding((*path, "cert_file"), f"{one_line(cert_file)} has a certificate in it that can't be read")
    elif certificate and (key or not key_file):
        reason = _fit(cert_file, key_file or None)
        if reason:
            yield Finding(
                (*path, "key_file" if key_file else "cert_file"), f"{one_line(key_file or cert_file)} {reason}"
            )


def _pem(path: Path, named: str, mark: str, what: str) -> Generator[Finding, None, str]:
    """The text of a file that holds such a part; yields what is wrong with it, and is empty then."""
    try:
        text = text_in(File(named), LARGEST, regular=True)
        if mark in text:
            return text
        reason = f"has no {what} in PEM (-----BEGIN ...) in it"
    except Unreadable as error:
        reason = str(error)
    yield Finding(path, f"the file {one_line(named)} {reason}")
    return ""


def _loads(named: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(named)
    except (ssl.SSLError, OSError):
        return False
    return True


def _fit(cert_file: str, key_file: str | None) -> str:
    """Why the key can't be used with the certificate, or nothing."""

    def refuse() -> str:
        raise _Encrypted

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert_file, key_file, refuse)
    except _Encrypted:
        return "has a key with a passphrase, which nobody could type; take it off: openssl pkey -in KEY -out NEW"
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return "has a key that belongs to another certificate"
        return "has a key in it that can't be read"
    except OSError as error:
        return f"can't be read: {(error.strerror or 'input/output error').lower()}"
    return ""
