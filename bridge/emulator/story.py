"""The story of a visit to a shop by a driven browser: what the events of a made-up run say. Pure data.

Each scene gives the fields of one event except id, time and runId. The types are those documented for the run
event stream of mid 2026, plus `connection.command.*` and `artifact.created` of the earlier documents; the
categories are those of the v2 stream.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class Visit:
    """What one visit is about; all scenes of a visit share it."""

    page: str
    context: str
    connection: str
    command: str
    artifact: str
    site: str
    path: str
    number: int


def _at(visit: Visit, data: Fields, **says: str) -> Fields:
    return {**says, "pageId": visit.page, "contextId": visit.context, "data": data}


def lifecycle(visit: Visit, status: str) -> Fields:
    """The runtime has started or stopped."""
    data: Fields = {"runtimeKind": "browser", "browser": "chromium", "version": "149.0.7827.53"}
    return {
        "type": "runtime.lifecycle",
        "status": status,
        "name": f"runtime.{status}",
        "category": "runtime",
        "contextId": visit.context,
        "data": data,
    }


def _command(step: str, status: str, method: str) -> Callable[[Visit, random.Random], Fields]:
    def scene(visit: Visit, chance: random.Random) -> Fields:
        data: Fields = {"method": method, "url": f"{visit.site}{visit.path}"}
        if step == "finished":
            data["durationMs"] = chance.randint(40, 900)
        fields = _at(visit, data, type=f"connection.command.{step}", category="command", status=status, name=method)
        return {**fields, "connectionId": visit.connection, "commandId": visit.command}

    return scene


def _navigation(visit: Visit, chance: random.Random) -> Fields:
    url = f"{visit.site}{visit.path}"
    data: Fields = {
        "url": url,
        "title": f"Order {visit.number} - Café Größe",
        "loadMs": chance.randint(180, 2400),
    }
    return _at(visit, data, type="navigation", category="browser", status="finished", name=url)


def _request(method: str, path: str, kind: str) -> Callable[[Visit, random.Random], Fields]:
    def scene(visit: Visit, chance: random.Random) -> Fields:
        url = f"{visit.site}{path}?v={chance.randrange(10**6)}"
        data: Fields = {
            "requestId": f"{chance.randrange(10**4)}.{visit.number}",
            "method": method,
            "url": url,
            "resourceType": kind,
        }
        return _at(visit, data, type="network.request", category="network", status="started", name=f"{method} {path}")

    return scene


def _response(method: str, path: str, mime: str) -> Callable[[Visit, random.Random], Fields]:
    def scene(visit: Visit, chance: random.Random) -> Fields:
        data: Fields = {
            "url": f"{visit.site}{path}",
            "statusCode": chance.choice((200, 200, 200, 204, 304)),
            "mimeType": mime,
            "encodedBytes": chance.randint(300, 90_000),
            "fromCache": chance.random() < 0.3,
        }
        return _at(visit, data, type="network.response", category="network", status="received", name=f"{method} {path}")

    return scene


def _failed(visit: Visit, chance: random.Random) -> Fields:
    data: Fields = {
        "url": f"https://metrics.example/collect?id={chance.randrange(10**6)}",
        "errorText": "net::ERR_BLOCKED_BY_CLIENT",
        "blocked": True,
    }
    return _at(visit, data, type="network.failed", category="network", status="failed", name="GET /collect")


def _console(visit: Visit, chance: random.Random) -> Fields:
    level = chance.choice(("log", "info", "warning"))
    data: Fields = {
        "level": level,
        "text": f'cart: {chance.randint(1, 9)} items, "ready"',
        "location": f"{visit.site}/app.js:{chance.randint(10, 400)}",
    }
    return _at(visit, data, type="console.message", category="console", status="received", name=level)


def _page_error(visit: Visit, chance: random.Random) -> Fields:
    line = chance.randint(10, 400)
    data: Fields = {
        "message": "TypeError: Cannot read properties of undefined (reading 'price')",
        "stack": f"at total ({visit.site}/app.js:{line}:17)\nat render ({visit.site}/app.js:{line + 31}:5)",
    }
    return _at(visit, data, type="page.error", category="browser", status="failed", name="TypeError")


def _dialog(visit: Visit, _: random.Random) -> Fields:
    data: Fields = {
        "dialogType": "confirm",
        "message": "Place the order for 100 % of the cart?",
        "accepted": True,
    }
    return _at(visit, data, type="dialog", category="browser", status="received", name="confirm")


def _download(visit: Visit, chance: random.Random) -> Fields:
    file = f"invoice-{visit.number:04d}.pdf"
    data: Fields = {
        "url": f"{visit.site}/files/{file}",
        "suggestedFilename": file,
        "bytes": chance.randint(9_000, 400_000),
    }
    return _at(visit, data, type="download", category="file", status="finished", name=file)


def _captcha(step: str, status: str) -> Callable[[Visit, random.Random], Fields]:
    def scene(visit: Visit, chance: random.Random) -> Fields:
        data: Fields = {"provider": "turnstile", "sitekey": f"0x4AAA{chance.randrange(16**8):08X}"}
        return _at(visit, data, type=f"captcha.solve.{step}", category="captcha", status=status, name="turnstile")

    return scene


def _artifact(visit: Visit, chance: random.Random) -> Fields:
    data: Fields = {
        "kind": "screenshot",
        "contentType": "image/png",
        "bytes": chance.randint(40_000, 900_000),
    }
    fields = _at(visit, data, type="artifact.created", category="file", status="finished", name="screenshot.png")
    return {**fields, "artifactId": visit.artifact}


Scene = Callable[[Visit, random.Random], Fields]

VISIT: tuple[Scene, ...] = (
    _command("started", "started", "page.goto"),
    _navigation,
    _request("GET", "/app.js", "script"),
    _response("GET", "/app.js", "text/javascript"),
    _request("GET", "/api/cart", "fetch"),
    _failed,
    _response("GET", "/api/cart", "application/json"),
    _console,
    _captcha("started", "started"),
    _request("POST", "/challenge/verify", "xhr"),
    _response("POST", "/challenge/verify", "application/json"),
    _captcha("succeeded", "finished"),
    _page_error,
    _request("GET", "/img/product.webp", "image"),
    _response("GET", "/img/product.webp", "image/webp"),
    _dialog,
    _request("POST", "/api/orders", "fetch"),
    _response("POST", "/api/orders", "application/json"),
    _console,
    _download,
    _artifact,
    _command("finished", "finished", "page.goto"),
)
