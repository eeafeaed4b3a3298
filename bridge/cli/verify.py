"""`runbridge verify`: checks a captured webhook request against its secret or public key. Sends nothing anywhere."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple, NoReturn

import typer

from bridge.cli.captured import Captured, captured
from bridge.cli.completion import destination_ids
from bridge.cli.keys import key_in
from bridge.cli.options import EX_CONFIG, EX_USAGE
from bridge.clock import unix
from bridge.signing import VerifyingKey, verifying_key
from bridge.verification import ID, SIGNATURE, TIMESTAMP, Verdict, span
from bridge.verification import verify as check_signatures

EX_NOT_VERIFIED = 1


class NamedKey(NamedTuple):
    """A key and where it comes from, which may be shown."""

    origin: str
    key: VerifyingKey


def verify(
    *,
    request: Annotated[
        Path | None,
        typer.Option("--request", "-r", metavar="FILE|-", help="A captured request: headers, an empty line, the body."),
    ] = None,
    headers: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="A header; may be repeated.")
    ] = None,
    body: Annotated[
        Path | None, typer.Option("--body", "-b", metavar="FILE|-", help="The body, byte for byte.")
    ] = None,
    secrets: Annotated[
        list[str] | None,
        typer.Option("--secret", metavar="SECRET", help="A secret; others on this machine can see it here."),
    ] = None,
    secret_files: Annotated[
        list[Path] | None,
        typer.Option("--secret-file", metavar="FILE", help="A file that holds a secret or public key."),
    ] = None,
    public_keys: Annotated[
        list[str] | None, typer.Option("--public-key", metavar="KEY", help="A whpk_ public key; may be repeated.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Take the secrets of a destination in here.")
    ] = None,
    destination: Annotated[
        str,
        typer.Option(
            "--destination",
            "-d",
            metavar="ID",
            help="Which one; not needed where it is the only one.",
            autocompletion=destination_ids,
        ),
    ] = "",
    tolerance: Annotated[
        str | None, typer.Option("--tolerance", metavar="DURATION", help="Refuse a timestamp further off, such as 5m.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    r"""Check that a captured webhook request is genuine, and say what doesn't fit where it is not.

    Takes a whole request, or its headers and body one by one; any one signature by any one key is enough. The age of
    the request is told, and is no reason to refuse it without --tolerance.

    \b
      runbridge verify --request captured.http --secret-file crm.secret
      runbridge verify --request - --public-key whpk_... < captured.http
      runbridge verify --request captured.http --config bridge.toml --destination crm --json
      runbridge verify -H 'webhook-id: msg_...' -H 'webhook-timestamp: 1793334731' \
          -H 'webhook-signature: v1,...' --body body.json --secret-file crm.secret

    Exit codes: 0 when it is genuine, 1 when it is not, 2 when it can't be checked, 78 when the configuration has
    mistakes.
    """
    allowed = _tolerance(tolerance)
    keys = [*_keys(secrets or (), secret_files or (), public_keys or ())]
    if config is not None:
        keys += _configured(config, destination)
    elif destination:
        _end("--destination needs --config FILE")
    if not keys:
        _end("give a key: --secret-file, --public-key, --secret or --config")
    try:
        seen = captured(request, headers or (), body)
    except ValueError as error:
        _end(str(error))
    now = unix()
    verdict = check_signatures([key for _, key in keys], seen.headers, seen.body, now=now, tolerance=allowed)
    if as_json:
        print(json.dumps(as_object(verdict, keys, seen, now)))
    else:
        for line in _lines(verdict, keys, seen, now):
            print(line)
    raise typer.Exit(0 if verdict.ok else EX_NOT_VERIFIED)


def as_object(verdict: Verdict, keys: Sequence[NamedKey], seen: Captured, now: float) -> dict[str, object]:
    """What was found, as JSON; `age` in seconds."""
    return {
        "ok": verdict.ok,
        "problems": [*_problems(verdict, seen)],
        "fits": [
            {"signature": fit.signature, "version": fit.version, "key": keys[fit.key - 1].origin}
            for fit in verdict.fits
        ],
        "webhook_id": verdict.message_id.encode(errors="replace").decode(),
        "timestamp": verdict.sent,
        "age": None if verdict.sent is None else round(now - verdict.sent, 3),
        "signatures": [signature.version for signature in verdict.signatures],
        "body_bytes": len(seen.body),
    }


def _lines(verdict: Verdict, keys: Sequence[NamedKey], seen: Captured, now: float) -> Iterator[str]:
    facts = {
        ID: _visible(verdict.message_id),
        TIMESTAMP: _moment(verdict.sent, now),
        SIGNATURE: ", ".join(signature.version for signature in verdict.signatures),
        "body": f"{len(seen.body)} bytes",
    }
    for name, value in facts.items():
        yield f"{name:18} {value or '-'}"
    if verdict.ok:
        yield from (
            f"verified: signature {fit.signature} ({fit.version}) is by {keys[fit.key - 1].origin}"
            for fit in verdict.fits
        )
    yield from (f"NOT verified: {problem}" for problem in _problems(verdict, seen))


def _problems(verdict: Verdict, seen: Captured) -> Iterator[str]:
    yield from verdict.problems
    if verdict.problems and seen.odd:
        yield seen.odd


def _moment(sent: int | None, now: float) -> str:
    if sent is None:
        return ""
    age = f"{span(now - sent)} ago" if sent <= now else f"{span(sent - now)} ahead"
    try:
        return f"{sent}, {datetime.fromtimestamp(sent, UTC):%Y-%m-%dT%H:%M:%SZ}, {age}"
    except (ValueError, OverflowError):  # after the year 9999
        return f"{sent}, {age}"


def _visible(text: str) -> str:
    """Without the characters that a terminal would act on."""
    return "".join(character if character.isprintable() else "?" for character in text[:128])


def _tolerance(text: str | None) -> float | None:
    if text is None:
        return None
    from bridge.settings.units import duration  # noqa: PLC0415  # --help should not wait for the settings

    try:
        return duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--tolerance") from None


def _keys(secrets: Sequence[str], files: Sequence[Path], public_keys: Sequence[str]) -> Iterator[NamedKey]:
    for option, texts in (("--secret", secrets), ("--public-key", public_keys)):
        for number, text in enumerate(texts, 1):
            try:
                yield NamedKey(f"{option} {number}" if len(texts) > 1 else option, verifying_key(text.strip()))
            except ValueError as error:  # which doesn't show it
                _end(f"{option}: {error}")
    for path in files:
        try:
            yield NamedKey(str(path), key_in(path, verifying_key))
        except ValueError as error:
            _end(str(error))


def _configured(config: Path, name: str) -> list[NamedKey]:
    from bridge.errors import ConfigurationError  # noqa: PLC0415  # as above
    from bridge.settings import load  # noqa: PLC0415

    try:
        destinations = load(config, os.environ).destinations
    except ConfigurationError as error:
        print(f"runbridge: the configuration can't be used:\n{error}", file=sys.stderr)
        raise typer.Exit(EX_CONFIG) from None
    if not name and len(destinations) == 1:
        (name,) = destinations
    if name not in destinations:
        _end(f"--destination is one of: {', '.join(destinations) or '(there is none in the configuration)'}")
    secrets = getattr(destinations[name], "secrets", ())  # a stream in Redis has none
    return [
        NamedKey(f"key {number} of destinations.{name}", verifying_key(secret.get_secret_value()))
        for number, secret in enumerate(secrets, 1)
    ]


def _end(problem: str) -> NoReturn:
    print(f"runbridge verify: {problem}", file=sys.stderr)
    raise typer.Exit(EX_USAGE)
