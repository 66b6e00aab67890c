"""The grammar of a guided completion, for llguidance, and the tokenizer that llguidance needs.

The headers come from the rules of `grammar/harmony.lark`. Where such a rule has a terminal for any name, the names that
are declared stand here, and white space stands where `forms.py` has it. What needs other names, such as the author of
another role, falls away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from harmony import grammar as formal
from harmony.conversion.given import Shape, as_json
from harmony.conversion.tools import BUILTIN, read_format, read_tools
from harmony.errors import quote
from harmony.format import vocabulary
from harmony.format.header import CONSTRAINED, KNOWN_CONTENT_TYPES
from harmony.guiding.forms import (
    CALL_CHANNELS,
    PLAIN_TYPES,
    TYPES,
    Wanted,
    addresses,
    check_recipient,
    declared,
    of_namespace,
    plain_stop,
    several,
    token_id,
    wanted,
)
from harmony.messages.contents import ToolNamespaceConfig
from harmony.messages.model import Conversation
from harmony.runtime.extras import how_to_install

if TYPE_CHECKING:
    from llguidance import LLTokenizer

#: The schema of each recipient. None stands for text without a form.
Schemas = Mapping[str, dict[str, Any] | None]

_MARKERS: Final = {token: vocabulary.SPECIAL_TEXTS[token] for token in vocabulary.STOPS}
# A marker, to split a text at its markers: no name holds a `<`.
_MARKER: Final = re.compile(r"(<\|[a-z]+\|>)")
_START: Final = vocabulary.SPECIAL_TEXTS[vocabulary.START]
_CHANNEL: Final = vocabulary.SPECIAL_TEXTS[vocabulary.CHANNEL]
_MESSAGE: Final = vocabulary.SPECIAL_TEXTS[vocabulary.MESSAGE]
_TYPES: Final = tuple(sorted(KNOWN_CONTENT_TYPES))
_BUILTIN: Final = {"browser": ToolNamespaceConfig.browser, "python": ToolNamespaceConfig.python}

# A rule is printed as `name: alternative | alternative`.
_Rules = dict[str, Iterable[str]]


def grammar(
    tools: Iterable[Shape] | Conversation | None,
    *,
    tool_choice: str = "auto",
    response_format: Shape | None = None,
    parallel: bool = False,
    eos: Iterable[int] = (),
) -> str:
    """The grammar of the completions that fit a request, in the Lark notation of llguidance.

        >>> sky = {"type": "function", "function": {"name": "sky", "parameters": {"type": "object"}}}
        >>> text = decoding.grammar([sky], tool_choice="functions.sky")
        >>> print(text.splitlines()[-1])
        arguments_0: %json {"type": "object"}

    `tools` are those of the Chat Completions or the Responses API, or a Conversation, whose system and developer
    messages declare them. The content of a call is JSON of the tool's schema, and that of `python` is text. An answer
    is JSON of the `response_format` of these APIs, if one is given; else it is text. `tool_choice` is that of Headers.
    With `parallel`, more calls may follow a call.

    `eos` names the ids that the engine's tokenizer counts as ends of a sequence. Such an id cannot stand in a grammar
    of llguidance, which lets it come wherever the grammar may end. So the stops among them are left out.

    Raises ConversionError for tools and a format that cannot be read, and TypeError and ValueError for other wrong
    arguments. ValueError names the tool whose schema has words that llguidance does not know. Needs the extra
    `decoding`.
    """
    schemas = declared(tools) if isinstance(tools, Conversation) else _read(tools)
    want = wanted(schemas, tool_choice)
    answer = read_format(response_format, "response_format")
    for name in want.recipients:
        if (schema := schemas[name]) is not None:
            _check(schema, f"the parameters of {quote(name)}")
    if answer is not None:
        _check(answer.schema, "`response_format`")
    stops = _stops(eos, parallel)
    rules = {
        **_messages(want, parallel),
        **_plain(want, stops, None if answer is None else answer.schema),
        **_calls(want, stops, schemas),
    }
    text = "".join(f"{name}: {' | '.join(alternatives)}\n" for name, alternatives in rules.items())
    return f"%llguidance {{}}\n{text}"


def ll_tokenizer(eos: Iterable[int] = (vocabulary.END_OF_TEXT,)) -> LLTokenizer:
    """The vocabulary as a tokenizer of llguidance, for its LLMatcher. Making it takes a second: keep it.

    It has the 201,088 tokens that gpt-oss has logits for, so its masks have MASK_WORDS words. `eos` are the ids that
    end a sequence: name the same ones to `grammar`. Raises TypeError and ValueError for what are no ids. Needs the
    extra `decoding`.
    """
    llguidance = _llguidance()
    ids = _ids(eos)
    if not ids:
        raise ValueError("Expected one id or more, got none - at `eos`")
    encoder = vocabulary.load().encoder
    special = {text: token for text, token in vocabulary.SPECIAL_TOKENS.items() if token != vocabulary.LAST_TOKEN}
    tokenizer: LLTokenizer = llguidance.LLTokenizer.from_tiktoken(
        encoder=encoder._mergeable_ranks,
        special_tokens=special,
        pattern=encoder._pat_str,
        eos_token=ids,
        n_vocab=None,
        slices=None,
    )
    return tokenizer


def _llguidance() -> Any:
    try:
        import llguidance
    except ImportError:
        needed = f"harmony.decoding needs llguidance: {how_to_install('decoding', 'llguidance')}"
        raise ModuleNotFoundError(needed, name="llguidance") from None
    return llguidance


def _ids(eos: Iterable[int]) -> list[int]:
    ids = [token_id(token, f"eos[{place}]") for place, token in enumerate(several(eos, "eos"))]
    for token in ids:
        if not 0 <= token < vocabulary.LAST_TOKEN:
            raise ValueError(f"Expected ids in 0..{vocabulary.LAST_TOKEN - 1}, got {token} - at `eos`")
    return ids


def _stops(eos: Iterable[int], parallel: bool) -> dict[int, str]:
    """What to print for each stop: nothing for one that the tokenizer counts as an end."""
    ids = _ids(eos)
    needed = {vocabulary.END, vocabulary.CALL} if parallel else {vocabulary.END}
    if wrong := needed.intersection(ids):
        found = quote(_MARKERS[wrong.pop()])
        raise ValueError(
            f"Expected ids that end a completion, got {found}, behind which a message may follow - at `eos`"
        )
    return {token: "" if token in ids else f" {marker}" for token, marker in _MARKERS.items()}


def _read(tools: Iterable[Shape] | None) -> Schemas:
    read = read_tools(tools, BUILTIN)
    spaces = [*read.namespaces.values(), *(_BUILTIN[name]() for name in read.builtin)]
    found = {name: schema for space in spaces for name, schema in of_namespace(space).items()}
    return {check_recipient(name, f"the tool {quote(name)}"): schema for name, schema in found.items()}


def _check(schema: dict[str, Any], place: str) -> None:
    """Raises ValueError for a schema that llguidance does not know in whole."""
    matcher = _llguidance().LLMatcher
    is_error, messages = matcher.validate_grammar_with_warnings(
        matcher.grammar_from_json_schema(as_json(schema, place))
    )
    if messages:
        kind = "refuses" if is_error else "warns of"
        raise ValueError(f"Expected a schema that llguidance knows, got one that it {kind}: {messages[0]} - at {place}")


def _messages(want: Wanted, parallel: bool) -> _Rules:
    """Which messages may follow each other. The first has no `<|start|>assistant`, which is in the prompt."""
    before = [name for name in want.plain if name != "final"]
    ends = ["final"] if "final" in want.plain else []
    if want.recipients:
        ends.append("call (_start (before _start)* call)*" if parallel else "call")
    return {
        "start": ["(before _start)* last"],
        "_start": [_printed(f"{_START}assistant")],
        "before": before,
        "last": ends,
    }


def _plain(want: Wanted, stops: Mapping[int, str], answer: dict[str, Any] | None) -> _Rules:
    """The messages without a recipient, each under the name of its channel."""
    rules: _Rules = {"TEXT": [r"/(.|\n)*/"]}
    for channel in want.plain:
        items = {"channel": [f"channel_{channel}"]}
        if any(PLAIN_TYPES[channel]):
            items["content_type"] = [f"type_{channel}"]
        end = stops[plain_stop(channel)]
        content = "TEXT" if channel != "final" or answer is None else "answer"
        rules[channel] = [f"{header} {_MESSAGE} {content}{end}" for header in _headers("_not_addressed", items)]
        rules |= _items(channel, [channel], PLAIN_TYPES[channel])
    if answer is not None and "final" in want.plain:
        rules["answer"] = [_json(answer)]
    return rules


def _calls(want: Wanted, stops: Mapping[int, str], schemas: Schemas) -> _Rules:
    """The calls: `call_0`, with the header `to_0` and the content `arguments_0`, and so on."""
    if not want.recipients:
        return {}
    rules: _Rules = {"call": [f"call_{number}" for number in range(len(want.recipients))]}
    rules |= _items("call", CALL_CHANNELS, TYPES)
    for number, name in enumerate(want.recipients):
        items = {
            "recipient": [f"to_{number}"],
            "channel": ["channel_call"],
            "any_content_type": ["type_call"],
        }
        headers = " | ".join(_headers("_addressed", items))
        rules[f"call_{number}"] = [f"({headers}) {_MESSAGE} arguments_{number}{stops[vocabulary.CALL]}"]
        words = {"_TO": [" to="], "RECIPIENT": [name], "DOTTED": [f" {name}"]}
        rules[f"to_{number}"] = [_printed(text) for text in _texts("recipient", words) if text in addresses(name)]
        schema = schemas[name]
        rules[f"arguments_{number}"] = ["TEXT" if schema is None else _json(schema)]
    return rules


def _items(kind: str, channels: Sequence[str], types: Sequence[str]) -> _Rules:
    """The rules for the channel and the content type of a kind of messages."""
    rules: _Rules = {
        f"channel_{kind}": map(_printed, _texts("channel", {"_CHANNEL": [_CHANNEL], "CHANNEL_NAME": channels}))
    }
    words = {
        "KNOWN_TYPE": [f" {word}" for word in _TYPES],
        "CONSTRAIN": [CONSTRAINED, f" {CONSTRAINED}"],
        "_SPACE": [" "],
        "UNDOTTED": _TYPES,
    }
    found = [_printed(text) for text in _texts("content_type", words) if text in types]
    return {**rules, f"type_{kind}": found} if found else rules


def _headers(rule: str, items: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for header in _texts(rule, items, " "):
        if items["channel"][0] in header.split():
            yield header


def _texts(rule: str, words: Mapping[str, Sequence[str]], between: str = "") -> Iterator[str]:
    """The ways to write a rule of `harmony.lark`, of which `words` has all symbols, with each choice of the words."""
    for symbols in formal.expansions(rule):
        if all(symbol in words for symbol in symbols):
            yield from map(between.join, product(*(words[symbol] for symbol in symbols)))


def _printed(text: str) -> str:
    """A text for llguidance: the special tokens in it by name, the rest as strings."""
    pieces = filter(None, _MARKER.split(text))
    return " ".join(piece if _MARKER.fullmatch(piece) else _dumped(piece) for piece in pieces)


def _json(schema: dict[str, Any]) -> str:
    return f"%json {_dumped(schema)}"


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")  # llguidance refuses it as it is
