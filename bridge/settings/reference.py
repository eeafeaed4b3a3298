"""Writes the reference of all keys as Markdown, from the models. Pure; says nothing about a key that they don't.

`docs/configuration.md` is its output: `python -m bridge.settings > docs/configuration.md`.
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from bridge.settings import schema, shape, units

_HEAD = """# Configuration

<!-- Made by `python -m bridge.settings > docs/configuration.md`; a test fails where it is not current. -->

`runbridge run --config FILE` reads one [TOML](https://toml.io) file, once, at start. `config/bridge.toml` shows every
key in its place. `runbridge check --config FILE` names every mistake at once, each with its key path, and exits with
78 if there is one; with `--connect` it also tries Redis, the accounts and the destinations.

Beside this page: [which events a destination gets](filters.md), [what a receiver has to do](receiving.md), and
[what its answers mean](operations.md#what-a-receivers-answer-means).

## Values

- **Durations** are texts with a unit (`"250ms"`, `"20s"`, `"5m"`, `"2h"`, `"7d"`) or numbers of seconds.
- **Sizes** are texts with a unit (`"512KiB"`, `"8MiB"`) or numbers of bytes.
- **Names** of accounts, sources and destinations are 1 to 128 letters, digits and `.` `_` `:` `-`.
- **Relative paths** start at the directory of the configuration file.
- **Secrets** stand in a file that the configuration names (`..._file`), in the environment, or in the configuration
  itself. A secret's file has at most 64 KiB and is read once, at start, but those of a webhook's `secret_files` again
  when they change; white space around the secret is stripped.
  No secret is ever shown, in a message or elsewhere.
- An unknown key is an error that names the known ones.

## Environment

Every key can come from the environment, which wins over the file: `BRIDGE_` and the key path, with two underscores
between its parts.

| variable | key |
|---|---|
| `BRIDGE_GRACE` | `grace` |
| `BRIDGE_REDIS__URL` | `redis.url` |
| `BRIDGE_ACCOUNTS__BCTRL__API_KEY` | `accounts.bctrl.api_key` |
| `BRIDGE_SOURCES__NEWS__HEADERS__X_API_KEY` | `sources.news.headers.X-Api-Key` |
| `BRIDGE_DESTINATIONS__CRM__BATCH__MAX_EVENTS` | `destinations.crm.batch.max_events` |
| `BRIDGE_DESTINATIONS__CRM_EU__SECRETS` | `destinations.CRM-EU.secrets`, where the file has a `CRM-EU` |

- Case doesn't matter. In the name of an account, source or destination, `-`, `.` and `:` stand as `_`. A name that
  the file doesn't have makes a new entry, in small letters.
- A table of secrets (`headers`) or of their files (`header_files`) has a variable for each header; `-` stands as `_` in
  its name. A secret in the environment displaces its file in the configuration, and the other way round.
- Lists are JSON (`["a", "b"]`) or have commas between their items (`a, b`).
- A `BRIDGE_` variable that names no key is an error. Two kinds are left alone: `BRIDGE_CONFIG`, which names the
  configuration file, and what Kubernetes sets for a service called "bridge" (`BRIDGE_SERVICE_HOST`,
  `BRIDGE_PORT_...`).
"""

_TAIL = """## What has to fit together

- A source's `account` exists, and its provider is the one that the source's `kind` belongs to; `sse` has no account.
- No two sources wait for the same event on the same account: a signal reaches one waiter only. No two sources of one
  kind read the same (the same run, operation, invocation, account or URL) with the same account and the same filters
  or headers: every event would come twice.
- An account has fewer sources than `max_connections`: each holds a connection, and one is kept for short requests.
- `wait_timeout` of `anchor.event.wait` is below `grace`: a wait takes a signal away, so it has to end at a stop. All
  other waits can be cut off.
- `page` and `context` of `bctrl.run-events.stream` need `api = "v1"`, and `categories` needs `api = "v2"`.
- `to` of `bctrl.events.stream` is after a time in `from`.
- The `url` of an `sse` source that has `headers` is https, or plain http to this machine. A header is given once, in
  whatever case, in `headers` or in `header_files`. `cursor_query` is not in the query of `url` already.
- `http.listen` on another address than this machine's own needs `http.token` or `http.token_file`.
- A destination whose URL spells out an address that isn't public (`localhost`, `10.0.0.5`) has a network in
  `allow_networks` that holds it. What a name resolves to is judged at every connection.
- The `url` of a webhook is https. Plain http needs `allow_networks`, and then goes only to addresses inside them,
  public ones neither; or `allow_http = true`. To a name and through a `proxy`, it always needs `allow_http = true`.
- A webhook has from 1 to 10 secrets, those of `secret_files` among them. A secret is `whsec_` and the base64 of 24 to
  64 random bytes, or `whsk_` and that of an ed25519 key; `whpk_` is the public key, which receivers have.
- A header of a webhook is given once, in whatever case, in `headers` or in `header_files`, and `Authorization` not
  beside a user in `url`. These can't be given, since the bridge or the connection sets them: `Host`, `Content-*`,
  `Date`, `Transfer-Encoding`, `Connection`, `Keep-Alive`, `Upgrade`, `TE`, `Trailer`, `Expect`, `Proxy-*`,
  `HTTP2-Settings`, `Sec-WebSocket-*`, `webhook-*`, `ce-*`, `runbridge-*`.
- `retry_schedule.longest` is not shorter than `retry_schedule.first`.
- `batch` needs `format = "batched"`.
- `format = "thin"` needs `http.public_url`, or an address in `http.listen` that isn't that of every interface: its
  links lead to `GET /v1/events/<id>` there.
- `handshake` needs a DNS name for the bridge: the host of `http.public_url`, else `instance`, which is the host's name
  when empty.
- `tls` needs an https `url`, and `tls.key_file` needs `tls.cert_file`. The files are there and have PEM in them, the
  key belongs to the certificate and has no passphrase.
- A `stream` doesn't begin as the bridge's own keys do: with `log.prefix`, a colon and a brace. On a cluster, it begins
  with a hash tag.
- A password for Redis is given once: in `password`, in `password_file` or in `url`.
- There is at least one source or one destination.
"""

_ROWS = "| key | value | default | |\n|---|---|---|---|\n"


def markdown() -> str:
    """Returns the whole page."""
    return "\n".join([_HEAD, *_sections(), _TAIL])


def _sections() -> Iterator[str]:
    top = {key: field for key, field in shape.keys(schema.Settings).items() if field.description}
    yield _section("Top level", "Above the first table of the file.", top)
    for name, model in shape.TABLES.items():
        yield _section(f"`[{name}]`", inspect.getdoc(model) or "", shape.keys(model))
    for name, entries in shape.ENTRIES.items():
        for value, model in entries.models.items():
            which = f": {entries.told[value]}" if entries.told else f' with `{entries.tag} = "{value}"`'
            yield _section(f"`[{name}.NAME]`{which}", inspect.getdoc(model) or "", shape.keys(model))


def _section(title: str, text: str, fields: Mapping[str, FieldInfo]) -> str:
    rows = "".join(f"{_row(key, field, fields)}\n" for key, field in _rows(fields))
    return f"## {title}\n\n{text}\n\n{_ROWS}{rows}"


def _rows(fields: Mapping[str, FieldInfo]) -> Iterator[tuple[str, FieldInfo]]:
    """The keys, those of a table within the table behind its own."""
    for key, field in fields.items():
        yield key, field
        model = shape.inner(field)
        if model is not None:
            yield from ((f"{key}.{name}", part) for name, part in shape.keys(model).items())


def _row(key: str, field: FieldInfo, fields: Mapping[str, FieldInfo]) -> str:
    description = " ".join((field.description or "").split())
    cells = (f"`{key}`", _value(field), _default(key, field, fields), description)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _value(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
        return f"`{json.dumps(get_args(field.annotation)[0])}`"
    return shape.form(field)


def _default(key: str, field: FieldInfo, fields: Mapping[str, FieldInfo]) -> str:
    if field.is_required():
        return f"this or `{key}_file`" if f"{key}_file" in fields else "required"
    if field.default is None or field.default_factory is not None:
        return ""
    return f"`{written_default(field)}`"


def written_default(field: FieldInfo) -> str:
    """Returns a key's default as TOML."""
    default = field.default
    if isinstance(default, float) and not shape.form(field).startswith("duration"):
        return f"{default:g}"
    if isinstance(default, float):
        return json.dumps(units.duration_text(default))
    if isinstance(default, int) and shape.form(field).startswith("size"):
        return json.dumps(units.size_text(default))
    return json.dumps(default)
