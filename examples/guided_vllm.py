"""Guides vLLM with `Headers`, as a logits processor for its V1 model runner.

    VLLM_USE_V2_MODEL_RUNNER=0 PYTHONPATH=examples vllm serve openai/gpt-oss-20b \
        --logits-processors guided_vllm:HarmonyRequests

A request names its recipients: `SamplingParams(extra_args={"recipients": ["functions.get_weather"]})`.
"""

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from harmony import load_harmony_encoding
from harmony.decoding import MASK_WORDS, Headers

BITS = torch.arange(32, dtype=torch.int32)

encoding = load_harmony_encoding("HarmonyGptOss")


class Request:
    """Guides one request. vLLM calls it with all tokens sampled so far, and the row of logits."""

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.taken = 0
        self.mask = torch.zeros(MASK_WORDS, dtype=torch.int32)

    def __call__(self, output: list[int], logits: torch.Tensor) -> torch.Tensor:
        for token in output[self.taken :]:
            self.headers.accept(token)
        self.taken = len(output)
        if self.headers.done:  # vLLM may run one step more, and throws its token away
            return logits
        self.headers.fill(self.mask)
        allowed = (self.mask.to(logits.device)[:, None] >> BITS.to(logits.device) & 1).flatten().bool()
        return logits.masked_fill(~allowed[: len(logits)], -torch.inf)


class HarmonyRequests(AdapterLogitsProcessor):
    """Guides the requests that name recipients, and leaves the others alone."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Raises ValueError for what are no recipients. vLLM refuses the request then."""
        try:
            headers_of(sampling_params)
        except TypeError as error:
            raise ValueError(str(error)) from error

    def is_argmax_invariant(self) -> bool:
        return False

    def new_req_logits_processor(self, params: SamplingParams) -> Request | None:
        headers = headers_of(params)
        return None if headers is None else Request(headers)


def headers_of(params: SamplingParams) -> Headers | None:
    recipients = (params.extra_args or {}).get("recipients")
    return None if recipients is None else Headers(encoding, recipients)
