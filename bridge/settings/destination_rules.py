"""How the keys of destinations fit together, and destinations with the log and the HTTP server. Pure; shows no value.

Like all rules they read the tables as they were given, with anything in them.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import SplitResult

from bridge.delivery.template import Template
from bridge.guard import Network
from bridge.settings import addresses, given_once, texts, units
from bridge.settings.destinations import REDIS, Exponential, kind_of
from bridge.settings.schema import Http, Log
from bridge.settings.shape import Finding, Path, entries, table, text_of, texts_of

Tables = dict[str, Any]

_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104  # nothing listens here: it is what others can't connect to


def findings(tables: Tables) -> Iterator[Finding]:
    """Every rule about destinations that the tables break."""
    for name, destination in entries(tables, "destinations"):
        path = ("destinations", name)
        if kind_of(destination) == REDIS:
            yield from given_once.password(path, destination)
            yield from _stream(path, destination, tables)
        else:
            yield from _secrets(path, destination)
            yield from _address(path, destination)
            yield from given_once.header(path, destination)
            yield from _schedule(path, table(destination, "retry_schedule"))
            yield from _batch(path, destination)
            yield from _thin(path, destination, table(tables, "http"))
            yield from _handshake(path, destination, tables)


def _secrets(path: Path, destination: Tables) -> Iterator[Finding]:
    lists = [destination.get(key, []) for key in ("secrets", "secret_files")]
    if all(value == [] for value in lists):
        yield Finding(
            (*path, "secrets"),
            f"has no secret to sign with; add one, or a file in secret_files: {texts.SECRET_FORM}",
        )


def _address(path: Path, destination: Tables) -> Iterator[Finding]:
    try:
        parts = addresses.web_url(text_of(destination, "url"), user=True)
    except ValueError:
        return
    networks = tuple(_networks(destination))
    refused = addresses.blocked(parts.hostname or "", networks)
    if refused:
        shown = " or ".join(map(str, refused))
        entry = ", ".join(f'"{one}/{one.max_prefixlen}"' for one in refused)
        yield Finding(
            (*path, "url"),
            f"goes to {shown}, which is not a public address; if it is meant, set allow_networks = [{entry}]",
        )
    elif parts.scheme == "http" and destination.get("allow_http") is not True:
        yield from _plain(path, parts, networks)
    if parts.scheme == "http" and table(destination, "tls"):
        yield Finding((*path, "tls"), "is only for https; remove it, or begin url with https://")
    if parts.scheme == "http" and addresses.literal(parts.hostname or "") is None:
        yield from _plain_proxy(path, destination)
    names = [name for key in ("headers", "header_files") for name in table(destination, key)]
    if "@" in parts.netloc and any(name.lower() == "authorization" for name in names):
        yield Finding((*path, "url"), "has a user, and there is a header Authorization too; remove one of them")


def _plain(path: Path, parts: SplitResult, networks: tuple[Network, ...]) -> Iterator[Finding]:
    """Plain http stays inside networks that somebody has named: whoever is on the way reads the events."""
    if not addresses.inside(parts.hostname or "", networks):
        yield Finding(
            (*path, "url"),
            "is plain http, which shows the events on the way; use https, name the network that the receiver is in "
            "with allow_networks, or set allow_http = true",
        )


def _plain_proxy(path: Path, destination: Tables) -> Iterator[Finding]:
    """A proxy looks names up itself, so nobody here can tell which network plain http would go to."""
    if text_of(destination, "proxy") not in {"", "environment"} and destination.get("allow_http") is not True:
        yield Finding(
            (*path, "proxy"),
            "takes plain http to where only the proxy knows; use https, remove proxy, or set allow_http = true",
        )


def _networks(destination: Tables) -> Iterator[Network]:
    for text in texts_of(destination, "allow_networks"):
        try:
            yield addresses.network(text)
        except ValueError:
            continue


def _schedule(path: Path, schedule: Tables) -> Iterator[Finding]:
    defaults = Exponential()
    try:
        first, longest = (units.duration(schedule.get(key, getattr(defaults, key))) for key in ("first", "longest"))
    except ValueError:
        return
    if first > longest:
        yield Finding((*path, "retry_schedule", "longest"), "is shorter than first; lengthen it, or shorten that")


def _batch(path: Path, destination: Tables) -> Iterator[Finding]:
    if "batch" in destination and destination.get("format") != "batched":
        yield Finding((*path, "batch"), 'is only for format = "batched"; set that, or remove batch')


def _handshake(path: Path, destination: Tables, tables: Tables) -> Iterator[Finding]:
    """A receiver is asked by the name of who asks."""
    if destination.get("handshake") is not True:
        return
    if not addresses.sender(text_of(table(tables, "http"), "public_url"), text_of(tables, "instance")):
        yield Finding(
            (*path, "handshake"),
            "needs a DNS name for this bridge, such as bridge.example; set http.public_url, or call the instance so",
        )


def _thin(path: Path, destination: Tables, http: Tables) -> Iterator[Finding]:
    """The links of thin events lead to the bridge's own HTTP server, under an address that others can connect to."""
    if destination.get("format") != "thin" or http.get("public_url"):
        return
    listen = http.get("listen", Http.model_fields["listen"].default)
    remedy = "say in http.public_url how receivers reach it"
    if listen == "":
        yield Finding(
            (*path, "format"), f"is thin, whose links lead to [http], which is off; set http.listen, or {remedy}"
        )
        return
    try:
        host, _ = addresses.host_and_port(listen if isinstance(listen, str) else "")
    except ValueError:
        return
    if host in _ANY_ADDRESS:
        yield Finding(
            (*path, "format"), f"is thin, whose links lead to [http], which listens on every address; {remedy}"
        )


def _stream(path: Path, destination: Tables, tables: Tables) -> Iterator[Finding]:
    """Keys of the bridge's own are at every server that it writes streams to: there is its position."""
    try:
        template = Template(texts.stream_template(text_of(destination, "stream")))
    except ValueError:
        return
    own = f"{text_of(table(tables, 'log'), 'prefix') or Log.model_fields['prefix'].default}:{{"
    head = template.text.replace("{{", "\0").partition("{")[0].replace("\0", "{").replace("}}", "}")
    if head.startswith(own):
        yield Finding(
            (*path, "stream"),
            f'begins with {own}, as the bridge\'s own keys do; begin it with another word, such as "runs:{{subject}}"',
        )
    if text_of(destination, "url").startswith("redis+cluster:") and template.problem_on_cluster():
        yield Finding(
            (*path, "stream"),
            "spreads over the slots of a cluster, and a batch must stay in one; begin it with a hash tag in doubled "
            "braces, before any field but {partition}, such as {{bridge}}:runs:{subject}",
        )
