"""Holds the guard of the control API to its rules: whose Host, whose Origin, whose token."""

import pytest
from steering import served

from bridge.http_api.guard import Access, Came, is_loopback, judge
from bridge.http_api.problem import Refused

PUBLIC = "https://bridge.example/base"


def refused(
    host: str = "127.0.0.1:8380", *, origin: str | None = None, site: str | None = None, loopback: bool = True,
    public_url: str = "", method: str = "POST", path: str = "/v1/sources", token: str | None = None,
    given: tuple[str, ...] = (),
) -> int:  # fmt: skip
    """The status of the refusal; 0 where there is none."""
    came = Came(
        method, path, (host,), () if origin is None else (origin,), () if site is None else (site,), given
    )  # fmt: skip
    try:
        judge(Access(token, public_url), came, loopback=loopback, free=False)
    except Refused as refusal:
        return refusal.status
    return 0


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1:1", "127.9.9.9:8380", "localhost", "LOCALHOST:80", "localhost.",
        "bridge.localhost:8380",
        "[::1]", "[::1]:8380", "[::ffff:127.0.0.1]:80",
    ],
)  # fmt: skip
def test_on_loopback_every_name_of_loopback_is_its_own(host: str) -> None:
    """Names of this machine that the DNS is never asked for, and addresses of loopback, with any port."""
    assert refused(host) == 0


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403), ("evil.example:8380", 403), ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("10.0.0.1:8380", 403), ("[::]", 403), ("0.0.0.0:8380", 403), ("2130706433", 403), ("0x7f.1", 403),
        ("bridge.example", 403), ("notlocalhost", 403), ("\u217bocalhost", 400), ("localhost@evil.example", 400),
        ("evil.example#localhost", 400), ("localhost:port", 400), ("localhost:99999", 400), ("localhost:0", 400),
        ("", 400), ("[::1", 400), ("localhost/x", 400), ("localhost ", 400), ("[localhost]", 400),
    ],
)  # fmt: skip
def test_on_loopback_any_other_host_is_refused(host: str, status: int) -> None:
    """A name that the DNS may lead here, as a page's own (DNS rebinding), is none of ours; nor is what is no host."""
    assert refused(host) == status


@pytest.mark.parametrize("hosts", [(), ("localhost", "localhost"), ("localhost", "evil.example")])
def test_there_is_one_host(hosts: tuple[str, ...]) -> None:
    """Of two, whoever stands in between may have looked at the other one."""
    with pytest.raises(Refused) as refusal:
        judge(Access(), Came("GET", "/", hosts, (), (), ()), loopback=True, free=True)
    assert refusal.value.status == 400


def test_a_public_url_is_a_host_too() -> None:
    """Behind a proxy on the same machine: its host, whatever the port, and no other."""
    assert refused("bridge.example", public_url=PUBLIC) == 0
    assert refused("bridge.example:8443", public_url=PUBLIC) == 0
    assert refused("x.bridge.example", public_url=PUBLIC) == 403


def test_elsewhere_any_host_leads_here() -> None:
    """Not on loopback a token is always needed, which no browser adds by itself, so a name gains nothing."""
    for host in ("10.0.0.1:8380", "bridge.example", "runbridge.default.svc.cluster.local:8380"):
        assert refused(host, loopback=False, token="t", given=("Bearer t",)) == 0
        assert refused(host, loopback=False, token="t") == 401


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://127.0.0.1:8380", "127.0.0.1:8380", 0), ("http://localhost", "localhost", 0),
        ("http://LOCALHOST:80", "localhost", 0), ("https://localhost", "localhost", 0),
        ("https://localhost", "localhost:443", 0), ("http://[::1]:8380", "[::1]:8380", 0),
        ("http://localhost:8380", "127.0.0.1:8380", 403), ("http://127.0.0.1:3000", "127.0.0.1:8380", 403),
        ("http://127.0.0.1", "127.0.0.1:8380", 403), ("null", "127.0.0.1:8380", 403), ("", "127.0.0.1:8380", 403),
        ("https://evil.example", "127.0.0.1:8380", 403), ("file://", "127.0.0.1:8380", 403),
        ("http://127.0.0.1:8380.evil.example", "127.0.0.1:8380", 403),
        ("http://127.0.0.1:8380@evil.example", "127.0.0.1:8380", 403),
        ("chrome-extension://127.0.0.1:8380", "127.0.0.1:8380", 403),
        ("http://127.0.0.1:8380 http://evil.example", "127.0.0.1:8380", 403),
    ],
)  # fmt: skip
def test_an_origin_is_where_host_leads(origin: str, host: str, status: int) -> None:
    """A request that a page makes names that page: it has to be this server's own, the same host and port."""
    assert refused(host, origin=origin) == status
    assert refused(host, origin=origin, loopback=False, token="t", given=("Bearer t",)) == status
    assert refused(host, origin=origin, method="GET", path="/") == status


def test_an_origin_may_be_the_public_urls() -> None:
    """A proxy may send its own Host on: what the browser shows is the public URL."""
    assert refused("127.0.0.1:8380", origin="https://bridge.example", public_url=PUBLIC) == 0
    assert refused("127.0.0.1:8380", origin="https://bridge.example:443", public_url=PUBLIC) == 0
    for other in ("http://bridge.example", "https://bridge.example:8443", "https://x.bridge.example"):
        assert refused("127.0.0.1:8380", origin=other, public_url=PUBLIC) == 403


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 0), ("none", 0), ("cross-site", 403), ("same-site", 403), ("new", 403)]
)
def test_what_a_browser_says_of_the_page_counts(site: str, status: int) -> None:
    """Only the page itself may be come to from other sites; everything else is for this server's pages and people."""
    for method, path in (("POST", "/v1/sources"), ("GET", "/v1/status"), ("GET", "/livez"), ("POST", "/")):
        assert refused(site=site, method=method, path=path) == status
    assert refused(site=site, method="GET", path="/") == 0


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (("Bearer t",), 0), (("bearer t",), 0), ((), 401), (("Bearer",), 401), (("t",), 401), (("Basic t",), 401),
        (("Bearer  t",), 401), (("Bearer t", "Bearer t"), 401),
        (("Bearer x", "Bearer t"), 401), (("Bearer \udcff",), 401),
    ],
)  # fmt: skip
def test_the_token_is_given_once_and_whole(given: tuple[str, ...], status: int) -> None:
    """As `Authorization: Bearer <token>` (RFC 6750, section 2.1); two are none."""
    assert refused(token="t", given=given) == status
    assert refused(given=given) == 0


def test_the_token_is_not_shown() -> None:
    """No repr holds it."""
    assert "secret" not in repr(Access("secret"))


@pytest.mark.parametrize(
    ("host", "found"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False)],
)
def test_where_it_listens_decides(host: str, found: bool) -> None:
    """Every interface is not loopback, though loopback is among them."""
    assert is_loopback(host) is found


async def test_a_foreign_page_steers_nothing() -> None:
    """Over a real connection: 403 as problem details before anything is read or done, for each way a page has."""
    ways = (
        {"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    )  # fmt: skip
    async with served() as (api, session):
        for headers in ways:
            for method, path in (
                ("POST", "/v1/sources"), ("DELETE", "/v1/sources/s"), ("GET", "/v1/status"), ("OPTIONS", "/v1/sources"),
                ("GET", "/v1/nothing"), ("GET", "/v1/live"),
            ):  # fmt: skip
                async with session.request(method, path, headers=headers, data=b"{}") as response:
                    assert (response.status, response.content_type) == (403, "application/problem+json")
        async with session.get("/", headers={"Sec-Fetch-Site": "cross-site"}) as response:
            assert response.status == 200
        assert api.steered.commands == []
        assert api.steered.looks == 0
