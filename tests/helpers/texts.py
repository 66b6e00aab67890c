"""Texts to draw that the grammar may hold: messages, often whole, and pieces of them."""

from __future__ import annotations

from hypothesis import strategies as st

STARTS = ["conversation", "prompt", "completion"]
WORDS = ["assistant", "user", "system", "developer", "tool", "lookup", "functions.f", "json", "final", "to=", "x"]
SPACE = [" ", "\n", "\t\f\r", "\v", "\u00a0", "\x1c", "\u200b"]
MARKERS = ["<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"]
OTHERS = ["<|endoftext|>", "<|reserved_200000|>", "<|reserved_200002|>", "<|foo|>", "<", "|>", ".", ":", "=", "{", '"']
PIECES = st.sampled_from(WORDS + SPACE[:2] + MARKERS) | st.sampled_from(SPACE + OTHERS) | st.text(max_size=2)
SPACES = st.sampled_from(["", " ", " ", "\t\f", "\r\n"])
NAMES = st.lists(st.sampled_from([*WORDS, ".", ":"]) | st.text(max_size=1), min_size=1, max_size=2).map("".join)


def usually(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words) | st.sampled_from(words) | st.sampled_from(words) | NAMES


@st.composite
def messages(draw: st.DrawFn) -> str:
    """A message that is often whole, but its names may be none, and a piece may be too many or have been replaced."""
    recipients = usually("to=f", "to=lookup", "functions.f", "to=to=x", "to=a.b:c")
    pieces = [draw(st.sampled_from(["<|start|>", "<|start|>", "<|start|>", ""])), draw(SPACES)]
    if pieces[0] or draw(st.booleans()):
        pieces += [draw(usually("assistant", "user", "tool", "user:alice", "functions.f", "lookup")), draw(SPACES)]
    place = draw(st.sampled_from(["", "before", "after"]))
    if place == "before":
        pieces += [" ", draw(recipients), draw(SPACES)]
    if draw(st.booleans()):
        pieces += ["<|channel|>", draw(usually("final", "a.b")), draw(SPACES)]
    if place == "after":
        pieces += [" ", draw(recipients), draw(SPACES)]
    if draw(st.booleans()):
        pieces += [draw(st.sampled_from(["<|constrain|>", " "])), draw(SPACES), draw(usually("json", "csv", "sh"))]
    pieces += [draw(SPACES), "<|message|>", draw(NAMES | PIECES), draw(st.sampled_from(MARKERS[4:]))]
    if draw(st.integers(0, 3)) == 3:
        index = draw(st.integers(0, len(pieces)))
        pieces[index : index + draw(st.integers(0, 1))] = [draw(PIECES)]
    return "".join(pieces)


TEXTS = st.lists(messages(), max_size=3).map("".join) | st.lists(PIECES, max_size=12).map("".join)

#: A text that tries to become markup, to run, to command a terminal, and to turn and hide what stands around it.
HOSTILE = (
    "</div></script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> <!-- "
    "\u202egnp.exe\u202c \x00 \x1b[31mred\x1b]0;owned\x07 \u200b a\rb {{ 7 * 7 }} {% raw %} &lt; ' \" `"
)
