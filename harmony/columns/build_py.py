"""The builder of columns in Python, the reference and the type stub of `build_c.pyx`."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harmony.columns.rows import CODED, Columns, Source, Sources, Texts, Values, given_role, parse_source
from harmony.format import vocabulary

if TYPE_CHECKING:
    from typing_extensions import Buffer


def build(
    tokens: memoryview,
    offsets: memoryview,
    roles: bytes,
    *,
    strict: bool,
    stripped: bool = False,
    bare: bool = True,
    threads: int = 1,
    elsewhere: Mapping[int, Source] | None = None,
    texts: Texts | None = None,
) -> Columns:
    """The columns of many conversations.

    `tokens` holds the tokens of all conversations, as integers of 32 or 64 bits. Conversation `i` is
    `tokens[offsets[i]:offsets[i + 1]]`; the caller must have checked the offsets (int64). `roles[i]` is the index of
    its given role in GIVEN, and flags beside it: with ELSEWHERE, the conversation is `elsewhere[i]` instead; with
    IN_TEXTS, it is text `i` of `texts`; with UNLESS_START, the role counts only if the conversation does not begin with
    `<|start|>`. With `bare`, a conversation without a message also gets a row. With `stripped`, all conversations have
    lost their markers, as in `parse_source`.
    """
    vocabulary.load()  # here, because an error of the vocabulary is not an error of a record
    values = Values()
    sources = Sources(tokens, offsets, roles, elsewhere or {}, texts)
    rows, row_offsets, complete = array("q", [0]), array("q", [0]), bytearray()
    conversation, numbers = array("q"), array("i")
    codes = [array("i") for _ in CODED]
    lengths, ends = array("i"), array("i")
    content = bytearray()
    diagnostics, errors = {}, {}
    for index in range(len(roles)):
        source = sources.of(index)
        given = given_role(roles[index], source)
        read = parse_source(source, given, values, strict=strict, stripped=stripped)
        for number, row in enumerate(read.rows):
            conversation.append(index)
            numbers.append(number)
            for column, code in zip(codes, row.codes, strict=True):
                column.append(code)
            lengths.append(row.content_tokens)
            ends.append(row.end)
            content += row.content
            row_offsets.append(len(content))
        if bare and not read.rows:
            conversation.append(index)
            for column in (numbers, *codes, lengths, ends):
                column.append(-1)
            row_offsets.append(len(content))
        rows.append(len(conversation))
        complete.append(read.complete)
        if read.diagnostics:
            diagnostics[index] = read.diagnostics
        if read.error is not None:
            errors[index] = read.error
    return Columns(
        rows=rows,
        complete=complete,
        conversation=conversation,
        offsets=row_offsets,
        message=numbers,
        **dict(zip(CODED, codes, strict=True)),
        content_tokens=lengths,
        end=ends,
        content=content,
        values=values.lists(),
        diagnostics=diagnostics,
        errors=errors,
    )


def validity(buffer: Buffer) -> bytes | None:
    """The validity bits of Arrow for int32: 1 if a number is not negative, lowest bit first. None if all are 1."""
    numbers = memoryview(buffer).cast("B").cast("i")
    valid = [number >= 0 for number in numbers]
    return None if all(valid) else _bits(valid)


def bits_of_rows(complete: Buffer, conversation: Buffer) -> bytes:
    """The bits of Arrow that say for each row whether its conversation is complete, lowest bit first."""
    flags = memoryview(complete).cast("B")
    return _bits([flags[index] != 0 for index in memoryview(conversation).cast("B").cast("q")])


def _bits(flags: list[bool]) -> bytes:
    return bytes(
        sum(bit << place for place, bit in enumerate(flags[start : start + 8])) for start in range(0, len(flags), 8)
    )


def ascending(offsets: memoryview) -> tuple[memoryview, int]:
    """A copy of offsets as int64, and the place of the first one that is below the one before; 0 if none is."""
    copied = array("q", offsets)
    place = next((place for place in range(1, len(copied)) if copied[place] < copied[place - 1]), 0)
    return memoryview(copied), place
