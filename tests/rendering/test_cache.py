"""What rendering remembers, and that it is bounded, right, and safe under threads."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harmony import (
    HarmonyEncoding,
)
from harmony.rendering import renderer
from harmony.rendering.cache import Cache
from helpers.talk import conversation, message, talk


def test_what_was_changed_is_rendered_anew(encoding: HarmonyEncoding) -> None:
    whole = talk()
    before = encoding.decode(encoding.render_conversation(whole))
    content: Any = whole.messages[1].content[0]
    content.tools["functions"].tools[0].parameters["properties"]["city"]["description"] = "e.g. Bergen"
    after = encoding.decode(encoding.render_conversation(whole))
    assert after == before.replace("e.g. Oslo", "e.g. Bergen")
    content.tools["functions"].tools[0].parameters["required"] = []
    assert encoding.decode(encoding.render_conversation(whole)) == after.replace("city:", "city?:")
    content.tools["functions"].tools[0].parameters["properties"]["city"]["default"] = 1 << 70
    large = encoding.decode(encoding.render_conversation(whole))
    content.tools["functions"].tools[0].parameters["properties"]["city"]["default"] = 1 << 71
    assert encoding.decode(encoding.render_conversation(whole)) != large


def test_one_message_more_encodes_that_message_alone(encoding: HarmonyEncoding) -> None:
    whole = talk()
    encoding.render_conversation(whole)
    whole.messages.append(message("user", "This was never said before."))
    before = encoding.cache_info()
    encoding.render_conversation(whole)
    after = encoding.cache_info()
    assert after.misses == before.misses + 1
    assert after.hits >= before.hits + 2 * len(talk().messages) - 4


def test_the_cache_is_bounded(encoding: HarmonyEncoding) -> None:
    whole = talk()
    tokens = encoding.render_conversation(whole)
    assert encoding.cache_info().max_bytes == renderer.CACHE_BYTES == 64_000_000
    assert 0 < encoding.cache_info().bytes <= 64_000_000
    try:
        encoding.resize_cache(0)
        assert encoding.render_conversation(whole) == tokens
        assert encoding.cache_info()[2:] == (0, 0, 0)
        encoding.resize_cache(20_000)
        for number in range(300):
            encoding.render(message("user", f"number {number}"))
            assert encoding.cache_info().bytes <= 20_000
        assert encoding.cache_info().entries > 10
        encoding.render(message("user", "large " * 10_000))
        assert encoding.cache_info().bytes <= 20_000
    finally:
        encoding.resize_cache(renderer.CACHE_BYTES)
    assert encoding.render_conversation(whole) == tokens


def test_the_cache_forgets_what_was_not_asked_for_longest() -> None:
    cache = Cache(3 * 400)
    for key in ("a", "b", "c"):
        cache.put(key, (1, 2))
    assert cache.get("a") == (1, 2)
    cache.put("d", (3,))
    assert [cache.get(key) for key in "abcd"] == [(1, 2), None, (1, 2), (3,)]
    cache.put("a", (9,))  # what is there stays
    assert cache.get("a") == (1, 2)
    cache.put("e", (0,) * 1000)  # larger than the cache
    assert cache.get("e") is None
    assert cache.info().entries == 3
    assert cache.info()[:2] == (5, 2)
    cache.resize(0)
    assert cache.info()[2:] == (0, 0, 0)


def test_a_child_process_does_not_wait_for_its_parents_threads(encoding: HarmonyEncoding) -> None:
    cache = Cache(10_000)
    cache.put("a", (1,))
    with cache.lock:  # as another thread holds it at the moment of the fork
        child = os.fork()
        if child == 0:
            done = threading.Thread(target=lambda: cache.put("b", (2,)))
            done.start()
            done.join(20)
            os._exit(0 if cache.get("b") == (2,) and cache.get("a") is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache.get("a") == (1,)


def test_a_handler_may_render_while_its_thread_looks_into_the_cache() -> None:
    cache = Cache(10_000)
    cache.put("a", (1,))
    with cache.lock:
        assert cache.get("a") == (1,)


def test_threads_share_the_cache(encoding: HarmonyEncoding) -> None:
    whole = [conversation(*(message("user", f"{n} of {of}") for n in range(of))) for of in range(40)]
    alone = [encoding.render_conversation(one) for one in whole]
    try:
        encoding.resize_cache(30_000)
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(lambda _: [encoding.render_conversation(one) for one in whole], range(16)):
                assert found == alone
        info = encoding.cache_info()
        assert info.bytes <= 30_000
    finally:
        encoding.resize_cache(renderer.CACHE_BYTES)
