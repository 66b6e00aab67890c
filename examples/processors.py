"""`Headers` as logits processors for transformers and for vLLM, to be copied. It needs torch, and one of the two.

    model.generate(..., logits_processor=[HarmonyProcessor(["functions.sky"], prompt_tokens)])
    vllm serve openai/gpt-oss-20b --logits-processors processors:HarmonyRequests

With vLLM, a request names the recipients in `SamplingParams(extra_args={"recipients": ["functions.sky"]})`. This is the
interface of its V1 model runner. For transformers, `generate` may sample, but not search beams, which reorders rows.
"""

import numpy as np
import torch

from harmony import load_harmony_encoding
from harmony.decoding import Headers

encoding = load_harmony_encoding("HarmonyGptOss")


class Guide:
    """The guide of one completion. It is called with all tokens sampled so far, and a row of logits."""

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.taken = 0
        self.mask = np.zeros(6284, np.int32)

    def __call__(self, output: list[int], logits: torch.Tensor) -> torch.Tensor:
        for token in output[self.taken :]:
            if not self.headers.done:  # behind the end, transformers pads
                self.headers.accept(token)
        self.taken = len(output)
        if self.headers.done:
            return logits
        self.headers.fill(self.mask)
        allowed = np.unpackbits(self.mask.view(np.uint8), bitorder="little").astype(bool)
        return logits.masked_fill(~torch.from_numpy(allowed).to(logits.device)[: logits.shape[-1]], -torch.inf)


class HarmonyProcessor:
    """A logits processor for `generate` of transformers. All rows begin behind a prompt of `prompt_tokens` tokens."""

    def __init__(self, recipients: list[str], prompt_tokens: int) -> None:
        self.headers = Headers(encoding, recipients)
        self.prompt_tokens = prompt_tokens
        self.guides: list[Guide] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if not self.guides:
            self.guides = [Guide(self.headers.copy()) for _ in input_ids]
        outputs = input_ids[:, self.prompt_tokens :].tolist()
        rows = [guide(output, row) for guide, output, row in zip(self.guides, outputs, scores, strict=True)]
        return torch.stack(rows)


try:
    from vllm.v1.sample.logits_processor import AdapterLogitsProcessor
except ImportError:
    pass
else:

    class HarmonyRequests(AdapterLogitsProcessor):
        """A logits processor for vLLM. It leaves requests alone that name no recipients."""

        def is_argmax_invariant(self) -> bool:
            return False

        def new_req_logits_processor(self, params):
            recipients = (params.extra_args or {}).get("recipients")
            return None if recipients is None else Guide(Headers(encoding, recipients))
