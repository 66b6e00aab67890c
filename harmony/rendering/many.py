"""Renders many conversations, on several threads where that is faster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final

from harmony.errors import HarmonyError, RenderError, sentence
from harmony.messages.model import Conversation
from harmony.rendering.renderer import Rendering
from harmony.runtime.locks import forks_wait

# Each thread takes this many conversations at a time.
_CHUNK: Final = 16
# Threads are used if the messages of the first chunk have more tokens than this on average.
_LONG_MESSAGE: Final = 500


def render_many(
    render: Callable[[Conversation], Rendering], conversations: Iterable[Conversation]
) -> list[list[int] | HarmonyError]:
    """For each conversation its tokens, or the HarmonyError that rendering it raised, in order.

    Where messages are long, threads on all cores render them. This helps because tiktoken encodes without the GIL.
    """

    def outcomes_of(chunk: list[Conversation]) -> list[Rendering | HarmonyError]:
        return [_outcome(render, conversation) for conversation in chunk]

    everything = list(conversations)
    outcomes = outcomes_of(everything[:_CHUNK])
    chunks = [everything[start : start + _CHUNK] for start in range(_CHUNK, len(everything), _CHUNK)]
    done = [outcome for outcome in outcomes if isinstance(outcome, Rendering)]
    are_long = sum(one.size for one in done) > _LONG_MESSAGE * sum(len(one.messages) for one in done)
    if are_long and (os.cpu_count() or 1) > 1:
        with forks_wait:
            from concurrent.futures import ThreadPoolExecutor  # parsing and single conversations never need it

        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            outcomes += chain.from_iterable(pool.map(outcomes_of, chunks))
        finally:
            pool.shutdown(cancel_futures=True)  # an exception such as KeyboardInterrupt leaves some
    else:
        outcomes += chain.from_iterable(map(outcomes_of, chunks))
    return [outcome.tokens() if isinstance(outcome, Rendering) else outcome for outcome in outcomes]


def _outcome(render: Callable[[Conversation], Rendering], conversation: Conversation) -> Rendering | HarmonyError:
    # Other exceptions go to the caller: a signal's handler may have raised them, for example a TimeoutError.
    try:
        return render(conversation)
    except HarmonyError as error:
        outcome = error
    except AttributeError as error:  # a field was deleted
        said = sentence("cannot-render", reason=f"{type(error).__name__}: {error}")
        outcome = RenderError(said, code="cannot-render", unit="message")
    # A traceback would keep its frames alive, and with them everything that was rendered.
    outcome.__traceback__ = outcome.__context__ = outcome.__cause__ = None
    return outcome
