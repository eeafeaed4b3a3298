"""The status page, in a real Chromium: it agrees with Redis, says what is wrong, and lets it be put right."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from browsing import Sight, Stand, seen
from daemon import Daemon, Log, stream_source
from delivering import QUICK, destination
from receiver import Receiver, status
from servers import free_port
from upstream import HANG, Upstream, answer, counting, frame, stream
from waiting import wait_until

from bridge.http_api.page import PAGE, POLICY
from bridge.overview import BridgeView, DestinationView, LogView, Overview, SourceView

STREAM = "/v2/runs/r/events/stream"
MARKUP = '"><img src=x onerror="window.hit=1"><script>window.hit=1</script>'
"""A text that would run, were it ever taken as markup."""
UNSEEN = "\u202e\u2066\u200f\u200b\u061c\ufeff\xad\u2028\x07\x1b\x9b"
"""Characters that turn the direction, hide or end a line; the page shows each as U+FFFD."""
SHOWN = len(UNSEEN) * "\ufffd"
DIRECTIONS = (
    "[...new Set([...document.body.querySelectorAll('*:not(wbr)')].map((each) => getComputedStyle(each).unicodeBidi))]"
)
"""How the texts of the page's elements turn their neighbours: `isolate` for not at all."""
COVERED = """[...document.querySelectorAll('#sources tbody, #destinations tbody')].filter((row) => {
    const [button, text] = ['.act button', '.how'].map((part) => row.querySelector(part).getBoundingClientRect());
    return text.top < button.bottom;
}).length"""
"""How many rows have a text beside or below their button."""
GROUND = "getComputedStyle(document.body).backgroundColor"
FIGURES = {
    "count(9999)": "9,999", "count(12345)": "12.3 k", "count(999960)": "1.0 M", "count(null)": "\N{EN DASH}",
    "bytes(2_100_000_000)": "2.1 GB", "bytes(0)": "0 B", "rate(0)": "0/s", "rate(0.4)": "0.4/s", "rate(0.01)": "<0.1/s",
    "rate(120.4)": "120/s", "rate(12_345)": "12.3 k/s", "span(0)": "0 ms", "span(0.25)": "250 ms", "span(12.7)": "12 s",
    "span(240)": "4 min", "span(7300)": "2 h", "longSpan(273_600)": "3 d 4 h", "longSpan(240)": "4 min",
    "ago(0.4)": "just now", "ago(null)": "\N{EN DASH}", "moment('nonsense')": "nonsense",
    "plural(1, 'source')": "1 source", "plural(2000, 'source')": "2,000 sources",
    "shortened('abcdef', 4)": "abc\N{HORIZONTAL ELLIPSIS}",
}  # fmt: skip
"""Calls of the page's own functions, and what is read of them, at the edges of each unit."""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything, until a test says otherwise."""
    async with Receiver() as found:
        yield found


def overview(
    sources: list[SourceView], destinations: list[DestinationView], *, parked: int = 0, **bridge: Any
) -> Overview:
    """How a bridge with these stands."""
    return Overview(
        time="2026-06-25T12:00:00Z", redis="redis://127.0.0.1:6379/0", sources=sources, destinations=destinations,
        log=[LogView(partition=0, entries=1234, added=5678, parked=parked, rate=120.4)],
        bridge=BridgeView(version="1.0", uptime_seconds=3.0, ready=True, **{"instance": "one"} | bridge),
    )  # fmt: skip


def source(id_: str = "checkout", state: str = "connected", **fields: Any) -> SourceView:
    """A source's view."""
    return SourceView(id=id_, kind="bctrl.run-events.stream", state=state, **fields)


def crm(state: str = "active", **fields: Any) -> DestinationView:
    """A destination's view."""
    return DestinationView(id="crm", kind="webhook", url="https://crm.example", state=state, **fields)


def test_the_page_is_one_file_that_its_policy_fits() -> None:
    """It names no file and no other place; nothing but its own style and scripts is allowed by the policy."""
    text = PAGE.decode()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r"<[^>]*\s(style|on\w+)=", re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.DOTALL))
    inlined = re.findall(r"<(script|style)>(.*?)</\1>", text, flags=re.DOTALL)
    hashes = {(kind, base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()) for kind, part in inlined}
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    allowed = [(kind, re.findall(r"'sha256-(.*?)'", rules[f"{kind}-src"])) for kind in ("script", "style")]
    assert {(kind, each) for kind, all_ in allowed for each in all_} == hashes
    assert len(inlined) > 2
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert (rules["connect-src"], rules["img-src"]) == ("'self'", "data:")


async def test_it_agrees_with_redis_while_events_flow(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log, receiver: Receiver
) -> None:
    """At up to a thousand a second each figure is Redis' own of that second; an event opens whole, by keyboard."""
    tens = [b"".join(frame(f"e{ten}{digit}") for digit in range(10)) for ten in range(400)]
    seen_at_all = asyncio.Event()
    upstream.on(STREAM, stream(seen_at_all, *(part for ten in tens for part in (ten, 0.01)), then=HANG))
    url = f"http://127.0.0.1:{(port := free_port())}"
    async with daemon(
        stream_source(), destination("crm", receiver.url, order="none"), BRIDGE_HTTP__LISTEN=f"127.0.0.1:{port}"
    ) as bridge:
        await bridge.line("source.connected")
        async with seen(url) as sight:
            await sight.reads("h1", "All is well: 1 source, 1 destination, ")
            seen_at_all.set()
            await compare(sight, log)
            assert await sight.number("#added") < 4_000, "nothing flowed any more"
            await compare(sight, log)
            await wait_until(lambda: len(receiver.hooks) >= 4_000, "everything delivered", 30)
            await still(sight, log)
            await by_keyboard(sight, log)


async def compare(sight: Sight, log: Log) -> None:
    """The page's figure, when it has just changed, is one that Redis had in the second before."""
    old = await sight.number("#added")
    least = log.length()
    await wait_until(lambda: changed(sight, old), "another figure")
    shown = await sight.number("#added")
    assert least - 2_500 <= shown <= log.length()


async def changed(sight: Sight, old: int) -> bool:
    """Whether the figure is another one."""
    return await sight.number("#added") != old


async def still(sight: Sight, log: Log) -> None:
    """At rest, all figures are exactly those of Redis and of the receiver."""
    length = log.length()

    async def settled() -> bool:
        rows = await sight.text("#destinations tbody tr")
        return await sight.number("#entries") == length == await sight.number("#added") and "\t0\t" in rows

    await wait_until(settled, f"{length} entries and nothing behind")
    assert "Connected" in await sight.text("#sources tbody .state")
    assert "Active" in await sight.text("#destinations tbody .state")
    await sight.page.get_by_role("button", name="s", exact=True).click()
    assert f"Numbered in Redis\n{int(log.source()['sequence']):,}" in await sight.text("#sheet-body")
    await sight.page.keyboard.press("Escape")


async def by_keyboard(sight: Sight, log: Log) -> None:
    """Filter, Tab, Enter, Escape: the newest event whole, and the focus where it was."""
    await sight.page.locator("#events-filter").focus()
    await sight.page.keyboard.type("e3999")
    await sight.reads("#events tbody", "ai.bctrl.navigation")
    while await sight.focused() != "ai.bctrl.navigation":
        await sight.page.keyboard.press("Tab")
    await sight.page.keyboard.press("Enter")
    await sight.reads("#sheet pre", "e3999")
    assert json.loads(await sight.text("#sheet pre")) == log.events()[-1]
    await sight.page.keyboard.press("Escape")
    await sight.page.locator("#sheet").wait_for(state="hidden")
    assert await sight.focused() == "ai.bctrl.navigation"


async def test_a_refused_source_is_named_and_a_dead_letter_is_tried_again(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log, receiver: Receiver
) -> None:
    """The sentence says what needs somebody and why; a letter arrives after its button; pause and resume are obeyed."""
    upstream.on(STREAM, stream(frame("e0"), then=HANG))
    upstream.on("/v2/runs/other/events/stream", answer(401, {"code": "auth.invalid", "error": "no such key"}))
    receiver.answer = status(400)
    port = free_port()
    async with daemon(
        stream_source(), stream_source("checkout", run="other"),
        destination("crm", receiver.url, types=["ai.bctrl.navigation"], retry_schedule=QUICK),
        BRIDGE_HTTP__LISTEN=f"127.0.0.1:{port}",
    ) as bridge:  # fmt: skip
        await bridge.line("dead.lettered")
        async with seen(f"http://127.0.0.1:{port}") as sight:
            await sight.reads("h1", "1 thing needs you: source checkout is refused (401")
            await sight.reads("#besides", "destination crm has 1 dead letter")
            assert (await sight.text("#sources tbody")).startswith("checkout")  # the first row
            assert "401" in await sight.text("#sources tbody .why")
            attempts = len(receiver.hooks)
            receiver.answer = status(204)
            await sight.page.get_by_role("button", name="Retry: ai.bctrl.navigation of r").click()
            await sight.reads("#notice", "Delivered to crm.")
            await sight.reads("#dead .empty", "None.")
            assert (len(receiver.hooks), receiver.hooks[-1].id) == (attempts + 1, "e0")
            await sight.page.get_by_role("button", name="Pause: source s").press("Enter")
            await sight.reads("#sources", "Paused")
            await sight.page.get_by_role("button", name="Resume: source s").press("Enter")
            await sight.reads("#sources", "Connected")


async def test_it_asks_for_the_token_and_comes_back_after_a_restart(
    daemon: Callable[..., Daemon], upstream: Upstream
) -> None:
    """A token is asked for, kept for the tab only; without a bridge the last figures stay, said to be the last."""
    upstream.on(STREAM, counting(3))
    port, token = free_port(), "a-token-of-some-length"
    bridge = daemon(stream_source(), BRIDGE_HTTP__LISTEN=f"127.0.0.1:{port}", BRIDGE_HTTP__TOKEN=token)
    async with bridge:
        await bridge.line("source.connected")
        async with seen(f"http://127.0.0.1:{port}") as sight:
            await sight.page.locator("#token:focus").wait_for()
            for given, answer_ in (("another-token-entirely", "does not accept"), (token, "")):
                await sight.page.keyboard.type(given)
                await sight.page.keyboard.press("Enter")
                await sight.reads("#token-error" if answer_ else "h1", answer_ or "All is well")
            await sight.page.reload()
            await sight.reads("h1", "All is well")
            assert token not in sight.page.url + await sight.page.evaluate("JSON.stringify(localStorage)")
            assert not [one for one in sight.asked if token in one]
            bridge.kill()
            await sight.reads("h1", "Not connected since ")
            await sight.reads("#besides", "Below are the last figures.")
            assert await sight.number("#added") == 3
            bridge.start()
            await sight.reads("h1", "All is well")
            await sight.page.get_by_role("button", name="Forget token").click()
            await sight.page.locator("#token:focus").wait_for()


async def test_anybody_can_use_it_on_any_screen() -> None:
    """No finding of axe-core: light, dark, narrow, in a dialog, without a bridge; nothing to scroll at 360 px."""
    trouble = overview(
        [source(), source("x" * 128, "failed", reason="y" * 300), source("run-3", "ended"), source("o", "paused")],
        [crm("disabled", reason="410 Gone", behind=18_231, waiting=2, dead=1, oldest_seconds=260.0)],
        parked=3, problems={"redis": "OOM command not allowed"},
    )  # fmt: skip
    letter = {
        "id": "0-1-0", "destination": "crm", "event": "e0", "type": "ai.bctrl." + "z" * 90, "subject": "r",
        "entry": "0-1-0", "attempts": 3, "last_status": 410, "last_error": "Gone", "time": "2026-06-25T12:00:00Z",
        "retrying": False,
    }  # fmt: skip
    async with Stand(trouble) as stand:
        stand.answers["/v1/destinations/crm/dead"] = {"letters": [letter], "next": None, "total": 1}
        async with seen(stand.url) as sight:
            await sight.reads("h1", "3 things need you: source x")
            await sight.reads("#dead", "410 Gone, after 3 attempts")
            await stand.say("entry", {"entry": "0-1-0", "id": "e0", "type": "t", "subject": "r" * 400, "time": ""})
            await sight.reads("#events tbody", "e0")
            assert await sight.page.evaluate("document.querySelector('#events tbody tr').offsetHeight") < 60
            assert await sight.violations() == []
            light = await sight.page.evaluate(GROUND)
            await sight.page.emulate_media(color_scheme="dark")
            assert await sight.page.evaluate(GROUND) != light
            assert await sight.violations() == []
            await sight.page.get_by_role("button", name="Change to light colours").click()
            assert await sight.page.evaluate(GROUND) == light
            await sight.page.set_viewport_size({"width": 360, "height": 740})
            assert await sight.page.evaluate("document.documentElement.scrollWidth") == 360
            assert await sight.page.evaluate(COVERED) == 0
            assert await sight.violations() == []
            await sight.page.get_by_role("button", name="crm", exact=True).click()
            assert await sight.violations() == []
            await sight.page.keyboard.press("Escape")
            await stand.__aexit__(None, None, None)
            await sight.reads("h1", "Not connected since")
            assert await sight.violations() == []


async def test_two_thousand_sources_stay_in_hand() -> None:
    """Those that need somebody come first, the others are folded; a filter finds any; figures are for people."""
    sources = [source(f"run-{number:04}") for number in range(1_998)]
    sources += [source("bad", "failed", reason="404"), source("odd", "reconnecting")]
    async with Stand(overview(sources, [])) as stand, seen(stand.url) as sight:
        await sight.reads("h1", "1 thing needs you: source bad is refused (404).")
        rows = sight.page.locator("#sources tbody")
        assert [await one.inner_text() for one in await rows.locator(".name").all()] == ["bad", "odd"]
        assert await sight.text("#sources .tally") == "1,998 connected, 1 refused, 1 reconnecting"
        await sight.page.get_by_role("button", name="Show 1,998 others").click()
        assert await rows.count() == 200
        await sight.page.locator("#sources .filter").fill("run-19 conn")
        await sight.reads("#sources tbody", "run-1900")
        assert await rows.count() == 98
        mended = [source(f"run-{number:04}") for number in range(3)]
        await stand.say("overview", overview(mended, [crm()]))
        await sight.reads("h1", "All is well: 3 sources, 1 destination, 120 events/s")
        assert {each: await sight.page.evaluate(each) for each in FIGURES} == FIGURES


async def test_what_is_wrong_in_a_running_bridge_is_said() -> None:
    """A refused reload needs somebody; a failure while something waits is a warning; what was taken is taken back."""
    why = f"the last reload was refused: {'b' * 200}"
    receiver = crm(reason="can't connect: Connection refused", waiting=1, rate=7.0)
    async with Stand(overview([source(state="fenced")], [receiver], problems={"configuration": why})) as stand:
        stand.answers["/v1/sources/checkout/resume"] = {}
        async with seen(stand.url) as sight:
            await sight.reads("h1", f"1 thing needs you: the configuration needs mending ({why[:60]}")
            await sight.reads("#besides", "destination crm is retrying (can't connect: Connection refused)")
            assert await sight.text("#destinations .state") == "Retrying"
            assert await sight.page.locator("#destinations tbody[data-level=watch]").count() == 1
            assert await sight.text("#outflow .words") == "7.0/s\ndelivered"
            await sight.page.get_by_role("button", name="Resume: source checkout").click()
            await sight.reads("#notice", "Source checkout is resumed.")
            await sight.page.get_by_role("button", name="the configuration").click()
            await sight.reads("#sheet-body", why)


async def test_no_text_of_others_becomes_markup_or_turns_the_page_around() -> None:
    """Ids, reasons, types and whole events stay what they are, and digits too; a log that can't be read is said."""
    event = b'{"id": "<b>e0</b>", "data": {"html": "<img src=x onerror=window.hit=1>", "number": 12345678901234567890}}'
    text = UNSEEN + MARKUP
    bad = overview(
        [source(text, "failed", reason=text)], [crm("disabled", reason=text)], problems={text: text}, instance=text
    )
    async with Stand(bad) as stand:
        stand.answers["/v1/events/0-1-0"] = event.replace(b"<b>", f"<b>{UNSEEN[:-3]}".encode())
        async with seen(stand.url) as sight:
            await sight.reads("#sources .name", MARKUP)
            await sight.reads("h1", f"is refused ({SHOWN}{MARKUP[:9]}")
            await stand.say("entry", {"entry": "0-1-0", **dict.fromkeys(["id", "type", "subject", "time"], text)})
            await sight.page.locator("#events .name").click()
            await sight.reads("#sheet pre", '"number": 12345678901234567890')
            assert await sight.text("#sheet-title") == SHOWN + MARKUP
            assert MARKUP in await sight.page.title()
            assert not set(UNSEEN) & set(await sight.page.evaluate("document.documentElement.outerHTML"))
            assert await sight.page.evaluate(DIRECTIONS) == ["isolate"]
            await stand.say("problem", {"title": "Service Unavailable", "detail": "READONLY"})
            await sight.reads("h1", "The bridge can't read its log since")
            await sight.reads("#besides", "READONLY. Below are the last figures.")
            assert await sight.page.evaluate("window.hit ?? document.querySelector('img')") is None
            with pytest.raises(Exception, match="TrustedHTML"):
                await sight.page.evaluate("document.body.innerHTML = ''")
            assert "TrustedHTML" in sight.complaints.pop()
