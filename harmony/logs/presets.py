"""Where servers and tools put completions into their records, as one table.

To add one, add an entry to PRESETS, and a file of its records to `tests/data/shapes/`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from harmony.errors import quote
from harmony.logs.records import Layout, Names

PRESETS: Final[dict[str, Layout]] = {
    # What `LLM.generate` returns, one RequestOutput a record.
    "vllm": Layout(
        Names(
            tokens="outputs[].token_ids",
            text="outputs[].text",
            prompt="prompt_token_ids",
            finish_reason="outputs[].finish_reason",
        )
    ),
    # Responses of the chat server with `return_token_ids`. The text of a message has no header, so it is not read.
    "vllm-chat": Layout(
        Names(
            tokens="choices[].token_ids", text=None, prompt="prompt_token_ids", finish_reason="choices[].finish_reason"
        )
    ),
    # Responses of `/generate`.
    "sglang": Layout(Names(tokens="output_ids", text="text", finish_reason="meta_info.finish_reason.type")),
    # The output file of a batch. A failed request has an `error` of its own.
    "openai-batch": Layout(
        Names(
            tokens=None,
            text="response.body.choices[].message.content",
            finish_reason="response.body.choices[].finish_reason",
        ),
        into="harmony",
    ),
    # Responses of `/completion`. `tokens` is empty without `return_tokens`. They have a `stop` of their own.
    "llama.cpp": Layout(Names(tokens="tokens", text="content", finish_reason="stop_type"), into="harmony"),
    # The samples that `--log_samples` writes.
    "lm-eval": Layout(Names(tokens=None, text="resps[][]")),
    # Exported observations of model calls. They have a `name` of their own.
    "langfuse": Layout(Names(tokens=None, text="output.content"), into="harmony"),
    # Responses of text-generation-inference, and what the pipeline of transformers returns.
    "hf": Layout(Names(tokens=None, text="generated_text", finish_reason="details.finish_reason")),
}


def layout_of(preset: str | None, given: dict[str, Any]) -> Layout:
    """The layout for a preset and the options that were given, which win over it.

    If a path to ids or to a text is given, it is the only path to completions, unless both are. Raises ValueError for
    an unknown preset.
    """
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"expected a preset among {', '.join(PRESETS)}, found {quote(preset)}")
    layout = Layout() if preset is None else PRESETS[preset]
    names = {name: given[name] for name in Names.__struct_fields__ if given.get(name) is not None}
    if "tokens" in names or "text" in names:
        names = {"tokens": None, "text": None, **names}
    others = {name: given[name] for name in Layout.__struct_fields__ if given.get(name) not in (None, False)}
    return msgspec.structs.replace(layout, names=msgspec.structs.replace(layout.names, **names), **others)
