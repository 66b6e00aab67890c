"""Tries an installed harmony without its extras: `python smoke.py compiled|python tiktoken|none`.

The first argument says which engine must be in use, the second whether tiktoken must be there, without which everything
works but encoding and rendering. Run it from a folder that has no `harmony` in it.
"""

import importlib
import json
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import harmony

engine, encoder = sys.argv[1:]
package = Path(harmony.__file__).parent
checkout = Path(__file__).parents[1]
assert package.parent != checkout, f"expected an installed harmony, found {package}"

# All compiled modules load, or there is none.
compiled = {
    f"harmony.{'.'.join(path.relative_to(package).parts).removesuffix(suffix)}"
    for suffix in EXTENSION_SUFFIXES
    for path in package.rglob(f"*{suffix}")
}
modules = {name for name in compiled if name.count(".") == 2}
assert bool(modules) == (engine == "compiled"), f"expected the engine {engine}, found the compiled modules {modules}"
for name in sorted(modules):
    importlib.import_module(name)
expected = "harmony.parsing.parser_c" if modules else "harmony.parsing.parser_py"
assert harmony.StreamableParser.__module__ == expected, harmony.StreamableParser.__module__

encoding = harmony.load_harmony_encoding("HarmonyGptOss")


def flat(message: harmony.Message) -> dict[str, object]:
    fields = {"role": message.author.role.value, "name": message.author.name, "channel": message.channel}
    fields |= {"recipient": message.recipient, "content_type": message.content_type, "content": message.text}
    return {name: value for name, value in fields.items() if value is not None}


# Real completions, as texts, as tokens, and token by token.
cases = [json.loads(line) for line in (checkout / "tests" / "data" / "completions.jsonl").read_bytes().splitlines()]
for case in cases:
    results = [encoding.parse_text(case["text"], case["role"], strict=False)]
    if encoder == "tiktoken":
        tokens = encoding.encode(case["text"], allowed_special="all")
        assert encoding.decode(tokens) == case["text"]
        results.append(encoding.parse(tokens, case["role"], strict=False))
        parser = harmony.StreamableParser(encoding, case["role"], strict=False)
        for token in tokens:
            parser.process(token)
        parser.process_eos()
        assert parser.messages == results[0].messages, case["id"]
    for result in results:
        assert list(map(flat, result.messages)) == case["messages"], case["id"]
        assert result.complete == case["complete"], case["id"]

conversation = harmony.Conversation.from_messages(
    [
        harmony.Message.from_role_and_content(harmony.Role.SYSTEM, harmony.SystemContent.new()),
        harmony.Message.from_role_and_content(harmony.Role.USER, "Grüße, what is <|end|>?"),
    ]
)
if encoder == "tiktoken":
    prompt = encoding.render_conversation_for_completion(conversation, harmony.Role.ASSISTANT)
    assert encoding.parse(prompt).messages[-1].text == "Grüße, what is <|end|>?"
    assert not list(harmony.validate(prompt, "prompt"))
else:
    for write in (lambda: encoding.encode("Hi"), lambda: encoding.render_conversation(conversation)):
        said = ""
        try:
            write()
        except ImportError as error:
            said = str(error)
        assert "pip install tiktoken" in said, f"expected an error about tiktoken, found `{said}`"
assert encoding.decode([200006, 1428, 200008, 12194, 200007]) == "<|start|>user<|message|>Hi<|end|>"
assert not list(harmony.validate("<|start|>user<|message|>Hi<|end|>"))
print(f"{sys.version.split()[0]}: {len(modules)} compiled modules, {len(cases)} completions, encoder: {encoder}")
