"""Harmony and the Chat Completions API of OpenAI, both ways: whole messages, whole completions, and streams.

    >>> from harmony import chat
    >>> conversation = chat.to_harmony([{"role": "user", "content": "Why is the sky blue?"}])
    >>> prompt = encoding.render_conversation_for_completion(conversation, "assistant")

`to_harmony` turns the messages of a request into a conversation. `from_harmony` turns what the model wrote into
messages of the API, and `completion` into a whole reply. `Stream` gives the chunks of a reply that is still being
written. What has no place on the other side raises ConversionError, which names it; nothing is left out in silence.
docs/chat.md has the rules.
"""

from __future__ import annotations

from harmony.conversion.chat_in import to_harmony
from harmony.conversion.chat_out import Stream, completion, from_harmony
from harmony.conversion.given import ConversionError

__all__ = ["ConversionError", "Stream", "completion", "from_harmony", "to_harmony"]
