"""The examples of logits processors, run where their inference engines are installed, which no extra asks for."""

from __future__ import annotations

import importlib
import importlib.util
import random
import subprocess
import sys
from typing import Any

import pytest

from harmony import HarmonyEncoding, Role, validate
from harmony.decoding import MASK_WORDS
from harmony.format.vocabulary import CHANNEL, END, FIRST_SPECIAL
from helpers.paths import EXAMPLES

RECIPIENTS = ["functions.sky", "python"]
LOGITS = 32 * MASK_WORDS


def needs(*engines: str) -> pytest.MarkDecorator:
    missing = [engine for engine in engines if importlib.util.find_spec(engine) is None]
    return pytest.mark.skipif(bool(missing), reason=f"without {', '.join(missing)}")


@needs("torch", "transformers")
def test_the_example_for_transformers_runs() -> None:
    example = [sys.executable, str(EXAMPLES / "guided_transformers.py")]
    done = subprocess.run(example, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("---") == 4


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The processor for vLLM, made as vLLM makes it. It asks nothing of vLLM's configuration."""
    import torch

    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("guided_vllm").HarmonyRequests(None, torch.device("cpu"), False)


@needs("vllm")
def test_the_example_for_vllm_guides_the_requests_of_a_batch(encoding: HarmonyEncoding, processor: Any) -> None:
    """Requests come, go and swap rows, as vLLM tells a processor."""
    import torch
    from vllm import SamplingParams
    from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality

    guided = SamplingParams(extra_args={"recipients": RECIPIENTS})
    outputs: list[list[int]] = [[], [], []]
    added = [(0, guided, None, outputs[0]), (1, SamplingParams(), None, outputs[1]), (2, guided, None, outputs[2])]
    processor.update_state(BatchUpdate(3, removed=[], added=added, moved=[]))
    assert not processor.is_argmax_invariant()
    rows = {0: outputs[0], 1: outputs[1], 2: outputs[2]}
    chance = random.Random(0)
    for step in range(400):
        logits = processor.apply(torch.zeros(3, LOGITS))
        for row, output in rows.items():
            allowed = torch.nonzero(logits[row] == 0).flatten().tolist()
            assert (len(allowed) == LOGITS) == (output is outputs[1] or ended(encoding, output))
            if not ended(encoding, output):
                special = [token for token in allowed if token >= FIRST_SPECIAL]
                output.append(chance.choice(special if special and chance.random() < 0.3 else allowed))
        update = None
        if step == 3:
            rows = {0: outputs[2], 1: outputs[1], 2: outputs[0]}
            update = BatchUpdate(3, removed=[], added=[], moved=[(0, 2, MoveDirectionality.SWAP)])
        processor.update_state(update)
    for output in (outputs[0], outputs[2]):
        assert ended(encoding, output)
        assert encoding.parse(output, Role.ASSISTANT).messages
        assert validate(output, "completion") == []
    processor.update_state(BatchUpdate(0, removed=[0, 1, 2], added=[], moved=[]))
    again = [(0, guided, None, [CHANNEL])]  # a request that was put off comes back with its output
    processor.update_state(BatchUpdate(1, removed=[], added=again, moved=[]))
    logits = processor.apply(torch.zeros(1, LOGITS))
    assert logits[0, END] == -torch.inf
    assert logits[0, encoding.encode("final")[0]] == 0


def ended(encoding: HarmonyEncoding, output: list[int]) -> bool:
    return output[-1:] != [] and output[-1] in encoding.stop_tokens_for_assistant_actions()


@needs("vllm")
def test_the_example_for_vllm_refuses_wrong_recipients(processor: Any) -> None:
    from vllm import SamplingParams

    processor.validate_params(SamplingParams())
    for wrong, text in ((["a b"], r"`a b` - at `recipients\[0\]`"), ("python", "several values, got `str`")):
        with pytest.raises(ValueError, match=text):
            processor.validate_params(SamplingParams(extra_args={"recipients": wrong}))
