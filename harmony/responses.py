"""Harmony and the Responses API of OpenAI, both ways: whole items, whole responses, and streams of events.

    >>> from harmony import responses
    >>> conversation = responses.to_harmony("Why is the sky blue?", instructions="Be brief.")
    >>> prompt = encoding.render_conversation_for_completion(conversation, "assistant")

`to_harmony` makes a conversation of the input of a request. `from_harmony` makes output items of what the model wrote,
`response` a whole response, and `Stream` the events of one that is still being written. What has no place on the other
side raises ConversionError, which names it; nothing is left out in silence. docs/chat.md has the rules.
"""

from __future__ import annotations

from harmony.conversion.given import ConversionError
from harmony.conversion.responses_in import to_harmony
from harmony.conversion.responses_out import Stream, from_harmony, response

__all__ = ["ConversionError", "Stream", "from_harmony", "response", "to_harmony"]
