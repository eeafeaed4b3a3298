"""Destinations in the configuration: their defaults, what each key takes, and what is said about a mistake."""

from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from destination_tables import HOOK, SECRET, STREAM, TELLTALE, mistakes, only, read

from bridge.delivery.schedule import STANDARD, Schedule
from bridge.settings import Exponential, RedisDestination, WebhookDestination, reference, shape
from bridge.signing import PrivateKey, text_of

PAIR = PrivateKey.of_seed(bytes(32))
PRIVATE, PUBLIC = text_of(PAIR), str(PAIR.public)

# ---- what loads


def test_every_key_of_a_webhook_has_its_documented_default(tmp_path: Path) -> None:
    """A webhook that says only its URL and a secret has the defaults of the public contract."""
    hook = only(tmp_path, "")
    assert isinstance(hook, WebhookDestination)
    assert (hook.types, hook.subjects, hook.sources, hook.filter, hook.from_) == ((), (), (), "", "start")
    assert (hook.order, hook.max_in_flight, hook.timeout, hook.max_attempts) == ("subject", 32, 15.0, 10)
    assert tuple(hook.retry_schedule) == (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    assert (hook.on_refused, hook.on_exhausted, hook.disable_after) == ("retry", "dead", 5 * 86_400)
    assert (hook.rate_limit, hook.format, hook.handshake, hook.proxy) == (None, "structured", False, "")
    assert (hook.batch.max_events, hook.batch.max_bytes, hook.batch.max_wait_ms) == (100, 256 << 10, 100)
    assert (dict(hook.headers), hook.allow_networks, hook.allow_http) == ({}, (), False)
    assert (hook.tls.ca_file, hook.tls.cert_file, hook.tls.key_file) == ("", "", "")


def test_every_key_of_a_stream_has_its_documented_default(tmp_path: Path) -> None:
    """The scheme of the URL makes a destination a stream, whose defaults are those of the public contract."""
    stream = only(tmp_path, "", STREAM)
    assert isinstance(stream, RedisDestination)
    assert (stream.stream, stream.max_entries, stream.password) == ("runs:{subject}", 100_000, None)
    assert (stream.types, stream.subjects, stream.sources, stream.filter, stream.from_) == ((), (), (), "", "start")


def test_the_reference_shows_these_defaults() -> None:
    """The generated page has a row for each key of both kinds, those of inner tables too, with its default."""
    page = reference.markdown()
    for row in ("`retry_schedule.longest` |", "`batch.max_wait_ms` |", "`tls.ca_file` |", "`max_entries` |"):
        assert f"| {row}" in page
    for key, default in {
        "disable_after": '"5d"',
        "retry_schedule": '"standard"',
        "batch.max_bytes": '"256KiB"',
    }.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{key}` |")]
        assert f"| `{default}` |" in line


GOOD = [
    ("url", '"https://u:p%40q@h.example/"', "https://u:p%40q@h.example/"),
    ("secrets", f'["{PRIVATE}"]', 1),
    ("types", '["a.*", "b"]', ("a.*", "b")),
    ("filter", "'category == \"network\" and data.status >= 500'", 'category == "network" and data.status >= 500'),
    ("from", '"2026-10-03T00:00:00+02:00"', "2026-10-03T00:00:00+02:00"),
    ("from", "2026-10-03T00:00:00Z", "2026-10-03T00:00:00Z"),
    ("retry_schedule", '["0s", "50ms", "2h", 7]', (0.0, 0.05, 7200.0, 7.0)),
    ("retry_schedule", '"exponential"', Exponential(first=5.0, factor=3.0, longest=86_400.0)),
    ("retry_schedule", '{ factor = 2, longest = "12h" }', Exponential(first=5.0, factor=2.0, longest=43_200.0)),
    ("disable_after", '"off"', 0.0),
    ("disable_after", '"0s"', 0.0),
    ("rate_limit", "2.5", 2.5),
    ("rate_limit", '"600/m"', 10.0),
    ("rate_limit", '"36/h"', 0.01),
    ("rate_limit", '"100"', 100.0),
    ("proxy", '"environment"', "environment"),
    ("proxy", '"http://u:p@proxy.example:3128"', "http://u:p@proxy.example:3128"),
    ("allow_networks", '["10.0.0.0/8"]', (IPv4Network("10.0.0.0/8"),)),
    ("headers", '{ X-Team = "a\\tb c", User-Agent = "x" }', 2),
]


@pytest.mark.parametrize(("key", "value", "taken"), GOOD)
def test_values_take_their_form(tmp_path: Path, key: str, value: str, taken: Any) -> None:
    """Each form that a key takes becomes the one value that the bridge works with."""
    found = getattr(only(tmp_path, f"{key} = {value}"), {"from": "from_"}.get(key, key))
    assert (len(found) if isinstance(taken, int) else found) == taken


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("", STANDARD),
        ('retry_schedule = ["1s"]', Schedule((0.0, 1.0))),
        ('retry_schedule = "exponential"', Schedule((0.0, 5.0), 3.0, 86_400.0)),
    ],
)
def test_a_schedule_is_what_delivery_reads(tmp_path: Path, text: str, schedule: Schedule) -> None:
    """Every form of `retry_schedule` gives the schedule that delivery goes by."""
    assert only(tmp_path, text).schedule == schedule


# ---- one mistake, one problem

MANY = ", ".join(['"x"'] * 101)
BAD = [
    ('url = "ftp://h/"', "url", "https:// or http:// for a webhook, or with redis://"),
    ("url = 3", "url", "such as https://... or redis://..."),
    (f'url = "https://h/#{TELLTALE}"', "url", "fragment (#...); remove it"),
    (f'url = "https://{TELLTALE}@x@h/"', "url", "write an @ in them as %40"),
    (f'url = "https://{TELLTALE}%0a@h/"', "url", "a character that they can't have"),
    (f'url = "https://h\\\\@{TELLTALE}/"', "url", "backslash"),
    (f'url = "https://[::1/{TELLTALE}"', "url", "is not a URL"),
    ('url = "http://crm.example/"', "url", "use https, name the network"),
    ('url = "http://93.184.215.14/"', "url", "set allow_http = true"),
    ('url = "http://93.184.215.14/"\nallow_networks = ["10.0.0.0/8"]', "url", "set allow_http = true"),
    ('url = "http://10.1.1.1/"\nallow_http = true', "url", 'set allow_networks = ["10.1.1.1/32"]'),
    (f'url = "https://{TELLTALE}@h/"\nheaders.authorization = "x"', "url", "a header Authorization too"),
    ("secrets = []", "secrets", "whsec_ and the base64 of 24 to 64 random bytes"),
    (f'secrets = ["{TELLTALE}"]', "secrets[0]", "expected whsec_"),
    ('secrets = ["whsec_eA=="]', "secrets[0]", "24 to 64 bytes"),
    (f'secrets = ["{PRIVATE[:-4]}"]', "secrets[0]", "whsk_"),
    (f'secrets = ["{SECRET}", "{PUBLIC}"]', "secrets[1]", "is the public key"),
    (f"secrets = [{', '.join([chr(34) + SECRET + chr(34)] * 11)}]", "secrets", "at most 10"),
    ('types = "x"', "types", "a list of at most 100 texts"),
    (f"subjects = [{MANY}]", "subjects", "at most 100"),
    ('sources = [""]', "sources[0]", "leave the list empty for all"),
    (f'types = ["{"x" * 1025}"]', "types[0]", "1 to 1024 characters"),
    ('types = ["a\\u0007"]', "types[0]", "control character"),
    ("filter = 'type = \"x\"'", "filter", 'line 1, column 6: = is no operator here; write "==" to compare'),
    (f"filter = '{TELLTALE} == data.x +'", "filter", "line 1, column"),
    ("filter = 3", "filter", "an expression as a text"),
    ('from = "end"', "from", 'one of "start", "now"'),
    ('from = "2026-10-03T00:00:00"', "from", "an offset such as +02:00"),
    ("from = 2026-10-03", "from", "a time such as"),
    ('from_ = "now"', "from_", 'did you mean "from"?'),
    ('order = "run"', "order", '"subject" or "none"'),
    ("max_in_flight = 0", "max_in_flight", "1 to 1024"),
    ("max_in_flight = 1025", "max_in_flight", "1 to 1024"),
    ("timeout = 0", "timeout", "at least 1ms"),
    ("max_attempts = 0", "max_attempts", "from 1 to"),
    ("retry_schedule = []", "retry_schedule", "a list of 1 to 100 durations"),
    (f"retry_schedule = [{', '.join(['1'] * 101)}]", "retry_schedule", "a list of 1 to 100 durations"),
    ('retry_schedule = ["1s", "soon"]', "retry_schedule[1]", "a duration such as"),
    ("retry_schedule = [-1]", "retry_schedule[0]", "at least 0"),
    ('retry_schedule = "sometimes"', "retry_schedule", '"standard" or "exponential"'),
    ("retry_schedule = 5", "retry_schedule", '"standard" or "exponential"'),
    ("retry_schedule = { factor = 0.5 }", "retry_schedule.factor", "from 1 to 100"),
    ("retry_schedule = { firts = 1 }", "retry_schedule.firts", 'did you mean "first"?'),
    ("retry_schedule = { first = 0 }", "retry_schedule.first", "at least 1ms"),
    ('retry_schedule = { first = "2d" }', "retry_schedule.longest", "is shorter than first"),
    ('on_refused = "drop"', "on_refused", '"retry" or "dead"'),
    ('on_exhausted = "drop"', "on_exhausted", '"dead" or "block"'),
    ('disable_after = "never"', "disable_after", 'or "off"'),
    ("rate_limit = 0", "rate_limit", '"10/h"'),
    ('rate_limit = "100/d"', "rate_limit", '"10/h"'),
    ("rate_limit = true", "rate_limit", '"10/h"'),
    ("rate_limit = nan", "rate_limit", "from 1/h to 100000/s"),
    ('format = "xml"', "format", '"structured", "binary", "batched" or "thin"'),
    ("batch = {}", "batch", 'only for format = "batched"; set that'),
    ('format = "batched"\nbatch = 3', "batch", "expected a table"),
    ('format = "batched"\nbatch.max_events = 10_001', "batch.max_events", "1 to 10000"),
    ('format = "batched"\nbatch.max_bytes = "512B"', "batch.max_bytes", "from 1KiB to 8MiB"),
    ('format = "batched"\nbatch.max_wait_ms = 60_001', "batch.max_wait_ms", "0 to 60000"),
    ('format = "batched"\nbatch.max_event = 1', "batch.max_event", 'did you mean "max_events"?'),
    ("handshake = 1", "handshake", "true or false"),
    ('allow_http = "yes"', "allow_http", "true or false"),
    ('allow_networks = ["10.0.0.1/8"]', "allow_networks[0]", "no bits set"),
    ('tls = "ca.pem"', "tls", "expected a table"),
    ('tls.ca = "ca.pem"', "tls.ca", "The keys here are: ca_file, cert_file"),
    ('tls.key_file = "~/key"', "tls.key_file", "is the key of a certificate"),
    (f'proxy = "https://{TELLTALE}@p:1"', "proxy", '"environment", or "" for none'),
    (f'proxy = "http://u:{TELLTALE}@p"', "proxy", "has no port"),
    (f'proxy = "http://p:1/{TELLTALE}"', "proxy", "something behind it"),
    ('proxy = "http://p:1"\nurl = "http://a.b/"\nallow_networks = ["10.0.0.0/8"]', "proxy", "only the proxy knows"),
    (f'headers.X = "{TELLTALE}\\n"', "headers.X", "with spaces and tabs only between them"),
    ('headers.X = ""', "headers.X", "is empty"),
    ("headers.X = 3", "headers.X", "visible ASCII"),
    ('headers."X Y" = "x"', 'headers."X Y"', "is no header's name"),
    ('headers = { X-A = "1", x-a = "2" }', "headers.x-a", "given twice, here and in headers.X-A"),
    (f"headers = {{ {', '.join(f'X{at} = {chr(34)}x{chr(34)}' for at in range(65))} }}", "headers", "at most 64"),
    (f'headers = {{ X = "{"x" * 5000}", Y = "{"y" * 5000}" }}', "headers", "have 10002 bytes"),
    ('stream = "x"', "stream", "The keys of a webhook (https:// or http://) are: url, types"),
    ('password_file = "nowhere"', "password_file", "The keys of a webhook"),
]
STREAM_BAD = [
    ('url = "embedded:data"', "url", "name its socket instead, unix:///PATH/valkey.sock"),
    (f'url = "redis://:{TELLTALE}@h/x"', "url", "database number"),
    ('url = "redis+sentinel://h:1"', "url", "names no service"),
    ('url = "redis+cluster://h:1"', "stream", "begin it with a hash tag in doubled braces"),
    (f'url = "redis://:{TELLTALE}@h"\npassword = "{TELLTALE}"', "password", "given twice, here and in url"),
    ('password = "a"\npassword_file = "b"', "password", "given twice, here and in password_file"),
    ('password_file = "nowhere"', "password_file", "does not exist"),
    ('stream = ""', "stream", "is empty"),
    ('stream = "{subject}"', "stream", "begin it with a word"),
    ('stream = "runs:{run}"', "stream", "{type}, {subject}, {source}, {partition}"),
    ('stream = "runs:{subject"', "stream", "stands alone"),
    ('stream = "a\\u0007"', "stream", "control character"),
    ('stream = "bridge:{{0}}:events"', "stream", "as the bridge's own keys do; begin it with another word"),
    ('stream = "bridge:{{{partition}}}:events"', "stream", "as the bridge's own keys do; begin it with another word"),
    ("max_entries = -1", "max_entries", "a whole number from 0"),
    ('types = ["a", 3]', "types[1]", "a text of 1 to 1024 characters"),
    ('secrets = ["x"]', "secrets", "The keys of a stream in Redis (redis://"),
    ('secret_files = ["nowhere"]', "secret_files", "The keys of a stream in Redis"),
    ('headers.X = "x"', "headers", "The keys of a stream in Redis"),
    ('retry_schedule = ["soon"]', "retry_schedule", "The keys of a stream in Redis"),
    ('tls.ca_file = "nowhere"', "tls", "The keys of a stream in Redis"),
]
CASES = [(HOOK, *row) for row in BAD] + [(STREAM, *row) for row in STREAM_BAD]


@pytest.mark.parametrize(("base", "text", "key", "words"), CASES, ids=[str(row[1])[:50] for row in CASES])
def test_a_mistake_is_one_problem(tmp_path: Path, base: Mapping[str, str], text: str, key: str, words: str) -> None:
    """Each mistake is told once, at its key path, with what to do, and without the value."""
    found = mistakes(tmp_path, text, base)
    assert list(found) == [f"destinations.d.{key}"]
    assert words in found[f"destinations.d.{key}"]


REFUSED = [
    "Host", "content-length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Connection", "Keep-Alive",
    "Upgrade", "TE", "Trailer", "Expect", "Date", "Proxy-Authorization", "proxy-x", "Sec-WebSocket-Key", "Webhook-Id",
    "webhook-signature", "CE-Id", "runbridge-replay", "HTTP2-Settings", "Traceparent",
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_headers_that_the_bridge_or_the_connection_sets_are_refused(tmp_path: Path, name: str) -> None:
    """Framing, hop-by-hop, signature and attributes can't be overwritten, whatever the case, and the reason is told."""
    found = mistakes(tmp_path, f'headers.{name} = "{TELLTALE}"')
    assert list(found) == [f"destinations.d.headers.{name}"]
    assert found[f"destinations.d.headers.{name}"].startswith("can't be added: it ")


@pytest.mark.parametrize(
    "name", ["Authorization", "User-Agent", "X-Team", "Hosts", "Web-hook", "traceparent2", "Cookie"]
)
def test_other_headers_are_taken_and_never_shown(tmp_path: Path, name: str) -> None:
    """A header that only looks like a refused one is taken; its value shows nowhere."""
    hook = only(tmp_path, f'headers.{name} = "{TELLTALE}"')
    assert hook.headers[name].get_secret_value() == TELLTALE
    assert TELLTALE not in f"{hook}{hook!r}"


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Mistakes in one key, in an inner table and between keys hide no other."""
    text = (
        'url = "http://10.0.0.1/"\ntimeout = "x"\nbatch.max_events = 0\nretry_schedule = { first = "2d", factor = 0 }\n'
        'headers = { Host = "x", X = "" }\nfilter = "("\nnope = 1\nstream = "x"\ntls.cert = "x"\nsecrets = []'
    )
    keys = ("url", "timeout", "batch", "batch.max_events", "retry_schedule.longest", "retry_schedule.factor", "filter")
    more = ("headers.Host", "headers.X", "nope", "stream", "tls", "tls.cert", "secrets")
    assert set(mistakes(tmp_path, text)) == {f"destinations.d.{key}" for key in (*keys, *more)}


# ---- where a webhook may go

ADDRESSES = [
    ("http://127.0.0.1:80/", '"127.0.0.1/32"'),
    ("http://localhost/", '"127.0.0.1/32", "::1/128"'),
    ("https://10.1.2.3/", '"10.1.2.3/32"'),
    ("http://[::1]/", '"::1/128"'),
    ("http://[::ffff:10.0.0.1]/", '"10.0.0.1/32"'),
    ("http://127.1/", '"127.0.0.1/32"'),
    ("https://0x7f000001/", '"127.0.0.1/32"'),
    ("http://169.254.169.254/", '"169.254.169.254/32"'),
]


@pytest.mark.parametrize(("url", "entry"), ADDRESSES)
def test_a_private_destination_needs_its_network(tmp_path: Path, url: str, entry: str) -> None:
    """A URL that spells out a private address is refused with the entry that opens it, and passes with that entry."""
    message = mistakes(tmp_path, f'url = "{url}"')["destinations.d.url"]
    assert entry in message
    advice = message.partition("set ")[2]
    assert only(tmp_path, f'url = "{url}"\n{advice}').url == url


@pytest.mark.parametrize(
    ("text", "inside_only"),
    [
        ('url = "https://x.example/"', False),
        ('url = "https://93.184.215.14/"', False),
        ('url = "http://x.example/"\nallow_http = true', False),
        ('url = "http://93.184.215.14/"\nallow_http = true', False),
        ('url = "http://x.example/"\nallow_networks = ["10.0.0.0/8"]', True),
        ('url = "http://93.184.215.14/"\nallow_networks = ["93.184.215.0/24"]', True),
        ('url = "http://localhost/"\nallow_networks = ["127.0.0.0/8"]', True),
    ],
)
def test_plain_http_stays_inside(tmp_path: Path, text: str, inside_only: bool) -> None:
    """Plain http that isn't allowed everywhere is to be held to `allow_networks` when it is dialled; https is not."""
    assert only(tmp_path, text).inside_only is inside_only


# ---- thin

THIN = 'format = "thin"\n'


@pytest.mark.parametrize(
    ("http", "links"),
    [
        ("", "http://127.0.0.1:8380"),
        ('listen = "127.0.0.1:1"', "http://127.0.0.1:1"),
        ('listen = ""\npublic_url = "https://b.example/x/"', "https://b.example/x"),
        ('listen = "0.0.0.0:80"\ntoken = "t"\npublic_url = "https://b.example"', "https://b.example"),
        ('listen = ""', ""),
        ('listen = "0.0.0.0:80"\ntoken = "t"', ""),
        ('listen = "[::]:80"\ntoken = "t"', ""),
    ],
)
def test_links_lead_somewhere(tmp_path: Path, http: str, links: str) -> None:
    """Thin events need an address of the bridge that receivers can ask; other formats don't."""
    text = f"{THIN}[http]\n{http}"
    if links:
        assert read(tmp_path, text).http.links == links
    else:
        assert "http.public_url" in mistakes(tmp_path, text)["destinations.d.format"]
        assert read(tmp_path, text.removeprefix(THIN)).destinations


@pytest.mark.parametrize("url", [f"https://{TELLTALE}@h", f"https://h?{TELLTALE}", "ftp://h", f"https://h#{TELLTALE}"])
def test_a_public_url_is_only_where_the_bridge_is(tmp_path: Path, url: str) -> None:
    """What links begin with has no user, query or fragment."""
    assert list(mistakes(tmp_path, f'[http]\npublic_url = "{url}"')) == ["http.public_url"]


# ---- streams


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (f'url = "redis://u:{TELLTALE}@h:1/2"', "redis://h:1/2"),
        ('url = "rediss://h:1"', "rediss://h:1"),
        ('url = "unix:///run/r.sock?db=1"', "unix:///run/r.sock"),
        (f'url = "redis+sentinel://:{TELLTALE}@a:1,b:2/svc"', "redis+sentinel://a:1,b:2/svc"),
        ('url = "redis+cluster://a:1,b:2"\nstream = "{{b}}:{type}"', "redis+cluster://a:1,b:2"),
        ('stream = "bridge:{type}"', "redis://h:6380/1"),
        ('stream = "events"', "redis://h:6380/1"),
        ('stream = "bridge:{{0}}"\n[log]\nprefix = "b"', "redis://h:6380/1"),
    ],
)
def test_streams_are_at_any_redis(tmp_path: Path, text: str, address: str) -> None:
    """Every form of URL is taken, and shown without user, password and query; only the bridge's own keys are closed."""
    stream = only(tmp_path, text, STREAM)
    assert isinstance(stream, RedisDestination)
    assert stream.address == address
    assert TELLTALE not in f"{stream}{stream!r}"


def test_the_kinds_share_what_selects_events() -> None:
    """What decides whether an event is wanted has the same keys, forms and words for either kind."""
    webhook, redis = (shape.keys(model) for model in shape.ENTRIES["destinations"].models.values())
    for key in ("types", "subjects", "sources", "filter", "from"):
        assert (webhook[key].annotation, webhook[key].description) == (redis[key].annotation, redis[key].description)
