"""All operations, from which both the routes and the OpenAPI document are made. Does none of them."""

from bridge.http_api import openapi
from bridge.http_api.dead import Dead
from bridge.http_api.defined import SECTIONS, Defined, Extra
from bridge.http_api.events import Events
from bridge.http_api.live import Live
from bridge.http_api.operation import Operation
from bridge.http_api.parked import ParkedApi
from bridge.http_api.replays import Replays
from bridge.http_api.served import Served
from bridge.http_api.standing import Standing


def operations(served: Served) -> list[Operation]:
    """The whole table."""
    standing = Standing(served)
    found = standing.operations()
    for section in SECTIONS:
        found += Defined(section, served).operations()
    for each in (Extra(served), Dead(served), Replays(served), ParkedApi(served), Events(served), Live(served)):
        found += each.operations()
    standing.links = {each.name: each.path for each in found if each.method == "GET"}
    standing.document = openapi.document(found, served.schemas)
    return found
