"""Guides `generate` of transformers with `Headers`, as a logits processor.

The model is a stand-in: a gpt-oss of two small layers, with the whole vocabulary and random weights. Needs torch and
transformers.
"""

from itertools import takewhile

import torch
from transformers import GptOssConfig, GptOssForCausalLM, LogitsProcessor

from harmony import Conversation, Message, Role, load_harmony_encoding
from harmony.decoding import MASK_WORDS, Headers

PAD = 199_999  # `<|endoftext|>`
BITS = torch.arange(32, dtype=torch.int32)


class HarmonyProcessor(LogitsProcessor):
    """Guides all rows of one call of `generate`. They begin behind a prompt of `prompt_tokens` tokens.

    It may sample, but not search beams, because that reorders the rows.
    """

    def __init__(self, guide: Headers, prompt_tokens: int) -> None:
        self.guide = guide
        self.taken = prompt_tokens
        self.rows: list[Headers] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if not self.rows:
            self.rows = [self.guide.copy() for _ in input_ids]
        mask = torch.full((len(self.rows), MASK_WORDS), -1, dtype=torch.int32)
        for headers, row, new in zip(self.rows, mask, input_ids[:, self.taken :].tolist(), strict=True):
            for token in new:
                if not headers.done:  # behind the end of its completion, `generate` pads a row
                    headers.accept(token)
            if not headers.done:
                headers.fill(row)
        self.taken = input_ids.shape[1]
        allowed = (mask.to(scores.device)[:, :, None] >> BITS.to(scores.device) & 1).flatten(1).bool()
        return scores.masked_fill(~allowed, -torch.inf)


def main() -> None:
    torch.manual_seed(0)
    encoding = load_harmony_encoding("HarmonyGptOss")
    config = GptOssConfig(
        vocab_size=32 * MASK_WORDS,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        num_local_experts=2,
        num_experts_per_tok=1,
        eos_token_id=encoding.stop_tokens_for_assistant_actions(),
        pad_token_id=PAD,
    )
    model = GptOssForCausalLM(config).eval()
    user = Message.from_role_and_content(Role.USER, "What is the weather in Oslo?")
    prompt = encoding.render_conversation_for_completion(Conversation.from_messages([user]), Role.ASSISTANT)
    ids = torch.tensor([prompt] * 4)
    processor = HarmonyProcessor(Headers(encoding, ["functions.get_weather", "python"]), len(prompt))
    outputs = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        logits_processor=[processor],
        sequence_bias={(stop,): 10.0 for stop in encoding.stop_tokens()},  # else a stand-in would write without end
        do_sample=True,
        max_new_tokens=500,
    )
    for output in outputs[:, len(prompt) :].tolist():
        tokens = list(takewhile(lambda token: token != PAD, output))
        for message in encoding.parse(tokens, Role.ASSISTANT).messages:
            print(message.channel, message.recipient, message.content_type, len(message.text), "characters")
        print("---", len(tokens), "tokens")


if __name__ == "__main__":
    main()
