"""`runbridge keys`: makes the secrets that webhooks are signed with. Writes to no file that exists already."""

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from bridge.cli.options import EX_USAGE
from bridge.signing import PrivateKey, SigningKey, signing_key, text_of

T = TypeVar("T")

LARGEST_KEY_FILE = 64 << 10
"""Bytes of a file that a key is read from."""


def keys(
    *,
    ed25519: Annotated[
        bool, typer.Option("--ed25519", "--asymmetric", help="Make a key pair: one half signs, the other verifies.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the secret to a new file, for its owner.")
    ] = None,
    public: Annotated[
        Path | None, typer.Option("--public", metavar="FILE", help="Show the public key of the whsk_ secret in a file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    r"""Make a secret that signs webhooks, from 32 random bytes.

    Without an option it is a whsec_ secret (HMAC-SHA256), which both sides keep: the bridge in `secrets` or
    `secret_files` of its destination, the receiver in its own configuration. Give every destination one of its own.
    With --ed25519 it is two lines: the whsk_ secret, for the bridge alone, and the whpk_ public key, with which a
    receiver can verify but not sign. Not every receiving library knows it yet.

    \b
      runbridge keys
      runbridge keys --out /etc/runbridge/crm.secret
      runbridge keys --ed25519 --out /etc/runbridge/crm.secret
      runbridge keys --public /etc/runbridge/crm.secret

    With --out the secret goes nowhere else: the file has mode 0600 and must not exist yet, and only the public key
    is printed, where there is one. To replace a secret while the bridge runs, make a new file and rename it over the
    old one. Exit codes: 0, or 2 when a file can't be written or read.
    """
    if public is not None:
        if ed25519 or out is not None:
            _end("--public shows the key of a file that is there: leave --ed25519 and --out away")
        _print({"public": _public(public)}, as_json=as_json)
        return
    key = _new(ed25519=ed25519)
    shown = {} if out is not None else {"secret": text_of(key)}
    if isinstance(key, PrivateKey):
        shown["public"] = str(key.public)
    if out is not None:
        _write(out, text_of(key) + "\n")
        print(f"runbridge keys: the secret is in {out}", file=sys.stderr)
        shown |= {"file": str(out)} if as_json else {}
    _print(shown, as_json=as_json)


def key_in(path: Path, read: Callable[[str], T]) -> T:
    """What `read` makes of a file's text, without the white space around it. Raises ValueError, naming the file."""
    try:
        with path.open("rb") as file:  # may be a pipe, such as <(pass show crm)
            content = file.read(LARGEST_KEY_FILE)
        return read(content.decode("utf-8-sig").strip())
    except OSError as error:
        problem = f" can't be read: {(error.strerror or 'input/output error').lower()}"
    except UnicodeDecodeError:
        problem = " is not text"
    except ValueError as error:  # which doesn't show what is in the file
        problem = f": {error}"
    raise ValueError(f"{path}{problem}")


def _public(path: Path) -> str:
    try:
        key = key_in(path, signing_key)
    except ValueError as error:
        _end(str(error))
    if not isinstance(key, PrivateKey):
        _end(f"{path} holds a whsec_ secret, which has no public key: receivers verify with the secret itself")
    return str(key.public)


def _new(*, ed25519: bool) -> SigningKey:
    random = secrets.token_bytes(32)
    return PrivateKey.of_seed(random) if ed25519 else random


def _write(path: Path, text: str) -> None:
    """A new file that only its owner can read, whole or not at all."""
    made = False
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        made = True
        with open(number, "w", encoding="ascii") as file:  # noqa: PTH123  # a number
            file.write(text)
            file.flush()
            os.fsync(number)
    except FileExistsError:
        _end(f"{path} is there already, and no secret is overwritten; choose another name")
    except OSError as error:
        if made:
            with contextlib.suppress(OSError):
                path.unlink()
        _end(f"{path} can't be written: {(error.strerror or 'input/output error').lower()}")


def _print(shown: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(shown))
    else:
        for text in shown.values():
            print(text)


def _end(problem: str) -> NoReturn:
    print(f"runbridge keys: {problem}", file=sys.stderr)
    raise typer.Exit(EX_USAGE)
