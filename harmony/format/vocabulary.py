"""The vocabulary `o200k_harmony`: the bytes of each token, and the ids of the special tokens.

Decoding reads a packed file from the package. Encoding is done by tiktoken; its encoder is built from the same file
when the first text is encoded. Nothing is ever downloaded.
"""

from __future__ import annotations

import os
import re
import sys
from array import array
from binascii import a2b_base64, b2a_base64, crc32
from collections.abc import Iterator
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from pkgutil import get_data
from typing import TYPE_CHECKING, BinaryIO, Final

from harmony.errors import Fault, HarmonyError, quote
from harmony.runtime.locks import Once, forks_wait

if TYPE_CHECKING:
    import tiktoken

#: The name of the only encoding, as in openai-harmony.
ENCODING_NAME: Final = "HarmonyGptOss"

#: Ids below this one are the byte-pair ranks of `o200k_base`; this one and those above are special tokens.
FIRST_SPECIAL: Final = 199_998
#: The highest token id (openai-harmony 0.0.8; tiktoken's own `o200k_harmony` stops one short of it).
LAST_TOKEN: Final = 201_088
#: Stands, in a list of ids, for an integer that is no token id.
NO_TOKEN: Final = LAST_TOKEN + 1

START_OF_TEXT: Final = 199_998
END_OF_TEXT: Final = 199_999
RETURN: Final = 200_002
CONSTRAIN: Final = 200_003
CHANNEL: Final = 200_005
START: Final = 200_006
END: Final = 200_007
MESSAGE: Final = 200_008
CALL: Final = 200_012

#: The tokens that end a message.
STOPS: Final = (END, CALL, RETURN)

_NAMED: Final = {
    START_OF_TEXT: "<|startoftext|>",
    END_OF_TEXT: "<|endoftext|>",
    RETURN: "<|return|>",
    CONSTRAIN: "<|constrain|>",
    CHANNEL: "<|channel|>",
    START: "<|start|>",
    END: "<|end|>",
    MESSAGE: "<|message|>",
    CALL: "<|call|>",
}
#: How each special token is written out, by id.
SPECIAL_TEXTS: Final = {
    token: _NAMED.get(token, f"<|reserved_{token}|>") for token in range(FIRST_SPECIAL, LAST_TOKEN + 1)
}
#: The id of each special token, by how it is written out.
SPECIAL_TOKENS: Final = {text: token for token, text in SPECIAL_TEXTS.items()}

#: The name of OpenAI's file of the ranks.
FILE_NAME: Final = "o200k_base.tiktoken"
FILE_SIZE: Final = 3_613_922
FILE_SHA256: Final = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
#: The environment variable that names a folder with the official file. openai-harmony reads that file. Here it is only
#: checked, for the packed file has the same ranks.
FOLDER_VARIABLE: Final = "TIKTOKEN_ENCODINGS_BASE"

#: The packed file has three parts: FIRST_SPECIAL + 1 offsets (uint32, little-endian), the bytes of all ranks, and 16
#: zeros, which allow to copy the last ranks in blocks of 16 bytes.
PACKED_NAME: Final = "o200k_base.bin"
_OFFSETS_SIZE: Final = 4 * (FIRST_SPECIAL + 1)
_BYTES_SIZE: Final = 1_397_670
_PADDING: Final = 16
#: The checksum of the packed file. The compiled engine uses the offsets without checking them again.
_PACKED_CRC32: Final = 0x8E0F5A1A
_REINSTALL: Final = "install harmony-codec again"
_BLOCK: Final = 1 << 18  # bytes that are hashed at a time

# How tiktoken's o200k_base splits a text before it merges bytes (tiktoken 0.14, `tiktoken_ext/openai_public.py`).
_WORD_END: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_SPLIT_PATTERN: Final = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + _WORD_END,
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + _WORD_END,
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)

_SPECIAL_SHAPE: Final = re.compile(r"<\|[a-z]+(?:_[0-9]+)?\|>")
_SPECIAL_SHAPE_IN_BYTES: Final = re.compile(_SPECIAL_SHAPE.pattern.encode())


def special_tokens_in(text: str) -> Iterator[tuple[int, int, int]]:
    """Each special token that a text spells: its start and end (characters), and its id."""
    for match in _SPECIAL_SHAPE.finditer(text):
        token = SPECIAL_TOKENS.get(match[0])
        if token is not None:
            yield match.start(), match.end(), token


def special_token_at(text: bytes, position: int) -> bytes | None:
    """The special token that a text in UTF-8 spells at a byte offset; None if there is none."""
    match = _SPECIAL_SHAPE_IN_BYTES.match(text, position)
    return match[0] if match is not None and match[0].decode() in SPECIAL_TOKENS else None


def encode_utf_8(text: str) -> bytes:
    """The text in UTF-8. A pair of surrogates becomes its character, a single one becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def whole(text: str, field: str = "") -> str:
    """The text, with each pair of surrogates as its character. Raises Fault, with the field, for a single surrogate."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        units = text.encode("utf-16-le", "surrogatepass")
    try:
        return units.decode("utf-16-le")
    except UnicodeDecodeError as error:
        single = units[error.start : error.start + 2].decode("utf-16-le", "surrogatepass")
        raise Fault("lone-surrogate", field=field, found=quote(single)) from None


class Vocabulary:
    """The bytes of every token, and tiktoken's encoder over them.

    The bytes of rank `r` are `data[offsets[r]:offsets[r + 1]]`. `offsets` holds uint32; `data` ends with 16 zeros.
    Several threads may read both at once, which is not true of slices of one memoryview.
    """

    offsets: array[int]
    data: bytes
    #: The rank of each single byte: `some_bytes.translate(byte_ranks)` gives a token id for each byte.
    byte_ranks: bytes

    def __init__(self, packed: bytes) -> None:
        if len(packed) != _OFFSETS_SIZE + _BYTES_SIZE + _PADDING:
            raise _unusable(PACKED_NAME, f"it has {len(packed):,} bytes", _REINSTALL)
        found = crc32(packed)
        if found != _PACKED_CRC32:
            raise _unusable(PACKED_NAME, f"its CRC-32 is {found:08x}, not {_PACKED_CRC32:08x}", _REINSTALL)
        self.offsets = array("I", packed[:_OFFSETS_SIZE])
        if sys.byteorder == "big":
            self.offsets.byteswap()
        self.data = packed[_OFFSETS_SIZE:]
        ranks = bytearray(256)
        for rank in range(256):  # these ranks are the 256 single bytes, but not in the order of the bytes
            ranks[self.data[self.offsets[rank]]] = rank
        self.byte_ranks = bytes(ranks)
        self._encoder = Once(self._new_encoder)

    def token_bytes(self, token: int) -> bytes:
        """The bytes of a token; `token` is in 0..LAST_TOKEN. A special token gives its written form."""
        if token < FIRST_SPECIAL:
            return self.data[self.offsets[token] : self.offsets[token + 1]]
        return SPECIAL_TEXTS[token].encode()

    def describe(self, token: int) -> str:
        """A token, or an integer that is no token id, as errors show it."""
        if not 0 <= token <= LAST_TOKEN:
            return str(token) if abs(token) < 1 << 64 else f"an integer of {token.bit_length():,} bits"
        if token >= FIRST_SPECIAL:
            return quote(SPECIAL_TEXTS[token])
        return "the text " + quote(self.token_bytes(token).decode(errors="backslashreplace"))

    @property
    def encoder(self) -> tiktoken.Encoding:
        """tiktoken's encoder. It is built on first use, from these ranks, which takes some tenths of a second.

        Raises ImportError where tiktoken cannot be imported.
        """
        return self._encoder()

    def _new_encoder(self) -> tiktoken.Encoding:
        try:
            with forks_wait:
                import tiktoken
        except ImportError as error:
            raise ImportError(
                f"encoding and rendering need tiktoken, which cannot be imported ({error}): pip install tiktoken; "
                "where it has no wheel, pip needs a Rust compiler. Parsing and decoding work without it",
                name="tiktoken",
            ) from error
        bounds = self.offsets.tolist()
        ranks = {self.data[bounds[rank] : bounds[rank + 1]]: rank for rank in range(FIRST_SPECIAL)}
        return tiktoken.Encoding(
            "o200k_harmony", pat_str=_SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens=SPECIAL_TOKENS
        )

    def official_file(self) -> bytes:
        """The vocabulary as the file that OpenAI publishes, `o200k_base.tiktoken`, byte for byte."""
        return b"".join(
            b2a_base64(self.token_bytes(rank), newline=False) + b" %d\n" % rank for rank in range(FIRST_SPECIAL)
        )


def pack(official: bytes, *, origin: str) -> bytes:
    """Packs the bytes of the official file, after a check of their SHA-256. `origin` names the file in errors."""
    check_official(BytesIO(official), origin=origin)
    tokens = [a2b_base64(line) for line in official.split()[::2]]
    offsets = array("I", accumulate(map(len, tokens), initial=0))
    if sys.byteorder == "big":
        offsets.byteswap()
    return offsets.tobytes() + b"".join(tokens) + bytes(_PADDING)


def check_official(file: BinaryIO, *, origin: str) -> None:
    """Raises HarmonyError for a file that is not the official one, byte for byte. `origin` names it in the error."""
    with forks_wait:
        from hashlib import sha256  # parsing never needs it

    advice = f"put the official {FILE_NAME} there (`harmony vocab export DIR` writes it)"
    digest, size = sha256(), 0
    while size <= FILE_SIZE and (block := file.read(_BLOCK)):
        digest.update(block)
        size += len(block)
    if size != FILE_SIZE:
        found = f"{size:,}" if size < FILE_SIZE else "more"
        raise _unusable(origin, f"it has {found} bytes, not {FILE_SIZE:,}", advice)
    if digest.hexdigest() != FILE_SHA256:
        raise _unusable(origin, f"its SHA-256 is {digest.hexdigest()}, not {FILE_SHA256}", advice)


def _unusable(name: str, reason: str, advice: str) -> HarmonyError:
    return Fault("bad-vocabulary", name=name, reason=reason, advice=advice).error()


def shipped() -> Vocabulary:
    """Reads the packed file of the package. TIKTOKEN_ENCODINGS_BASE is not looked at."""
    name = f"data/{PACKED_NAME}"
    try:
        packed = get_data("harmony.format", name)  # importlib.resources takes long to import
    except OSError as error:
        raise _unusable(error.filename or name, error.strerror or str(error), _REINSTALL) from None
    if packed is None:
        raise _unusable(name, "harmony was imported by a loader that reads no data", _REINSTALL)
    return Vocabulary(packed)


def read() -> Vocabulary:
    """Reads the packed file of the package. Where TIKTOKEN_ENCODINGS_BASE is set, the official file there is checked.

    The ranks of that file are those of the packed file, which is smaller and needs no work. So the official one is only
    hashed. Raises HarmonyError (code `bad-vocabulary`) where it is missing, truncated or not the official one.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        path = Path(folder) / FILE_NAME
        try:
            with path.open("rb") as file:
                check_official(file, origin=str(path))
        except OSError as error:
            advice = f"correct {FOLDER_VARIABLE}, or unset it to use the file shipped"
            raise _unusable(str(path), error.strerror or str(error), advice) from None
    return shipped()


#: Calls `read` once per process, and gives the same Vocabulary each time.
load: Final = Once(read)


class _TokenBytes(dict[int, bytes]):
    """The bytes of the tokens that were looked up so far."""

    def __missing__(self, token: int) -> bytes:
        found = self[token] = load().token_bytes(token)
        return found


#: The bytes of each token; each bytes object is made once.
TOKEN_BYTES: Final = _TokenBytes()
