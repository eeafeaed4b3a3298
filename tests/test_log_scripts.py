"""Several scripts in one round trip: they run in the order they are given, whatever the server knows of them."""

import hashlib

from redis.exceptions import NoScriptError
from servers import RedisServer

from bridge.redis_log import Keys, Server
from bridge.redis_log.link import Link, Script


def _push(text: str) -> Script:
    lua = f"return redis.call('RPUSH', KEYS[1], '{text}')"
    return Script(lua, hashlib.sha1(lua.encode(), usedforsecurity=False).hexdigest(), 1)


FIRST, SECOND = _push("first"), _push("second")


async def test_a_script_that_is_new_to_the_server_keeps_its_place(server: RedisServer, prefix: str) -> None:
    """A settlement must not run behind the taking that follows it, only because it is the first one ever."""
    keys = Keys(prefix, 0)
    lane = keys.lane("d") + "s"
    link = Link(Server(server.url), keys.events)
    await link.script(SECOND, lane)
    assert await link.scripts([(FIRST, [lane]), (SECOND, [lane])]) == [2, 3]
    server.call("SCRIPT", "FLUSH")
    assert await link.scripts([(FIRST, [lane]), (SECOND, [lane])]) == [4, 5]
    await link.close()
    assert server.call("LRANGE", lane, 0, -1) == ["second", "first", "second", "first", "second"]


async def test_one_script_forgotten_among_others_is_an_error(server: RedisServer, prefix: str) -> None:
    """It is not run behind those that have run; the next round trip goes as if nothing had been."""
    keys = Keys(prefix, 0)
    lane = keys.lane("d") + "s"
    link = Link(Server(server.url), keys.events)
    assert await link.scripts([(FIRST, [lane]), (SECOND, [lane])]) == [1, 2]
    server.call("SCRIPT", "FLUSH")
    server.call("SCRIPT", "LOAD", SECOND.text)
    forgotten, known = await link.scripts([(FIRST, [lane]), (SECOND, [lane])])
    assert isinstance(forgotten, NoScriptError)
    assert known == 3
    assert await link.scripts([(FIRST, [lane]), (SECOND, [lane])]) == [4, 5]
    await link.close()
