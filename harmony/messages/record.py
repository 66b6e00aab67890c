"""What every record does: checks on construction, conversion to and from data, and pydantic's interface.

Decides what a wrong value in a field raises and what the nested form looks like. Knows no particular record.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, Union, cast, get_args, get_origin

import msgspec

from harmony.errors import quote
from harmony.messages.limits import MOST_REPEATED, VALUE_LENGTH
from harmony.runtime.compiled import COMPILED

if TYPE_CHECKING or not COMPILED:
    from harmony.messages.repeats_py import is_small as are_small
else:
    from harmony.messages.repeats_c import is_small as are_small

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema
    from pydantic_core.core_schema import SerializationInfo


@cache
def _types(record: _Checked) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(cast("type[msgspec.Struct]", record))}


@cache
def _quick_looks(record: _Checked) -> dict[str, tuple[frozenset[type], frozenset[type]]]:
    """By field, the classes whose own instances it may hold as they are, and those that a list in it may hold.

    A list and a dict are never held as they are, so that no two records share one.
    """
    looks = {}
    for name, kind in _types(record).items():
        kinds = _alternatives(kind)
        lists = [kind for kind in kinds if get_origin(kind) is list]
        looks[name] = _classes(kinds), _classes(_alternatives(*get_args(lists[0])) if lists else ())
    return looks


def _classes(kinds: Iterable[Any]) -> frozenset[type]:
    return frozenset(kind for kind in kinds if isinstance(kind, type))


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


@cache
def _holder(record: _Checked, name: str) -> type[msgspec.Struct]:
    """A Struct with this one field, for msgspec keeps what it knows of a type with Structs only."""
    return msgspec.defstruct(record.__name__, [(name, _types(record)[name])])


def checked(record: _Checked, name: str, value: object) -> Any:
    """The value as a record's field may hold it. Raises TypeError for a wrong type, ValueError for a wrong value."""
    if isinstance(value, str):
        value = str.__str__(value)  # a Role as recipient would be formatted as `Role.ASSISTANT`
    try:
        return getattr(msgspec.convert({name: value}, _holder(record, name)), name)
    except msgspec.ValidationError as error:
        text = str(error).replace("`$.", f"`{record.__name__}.")
        raise (TypeError if ", got `" in text else ValueError)(text) from None


_ATOMS: Final = frozenset({str, int, float, bool, NoneType})

_STEPS_SHOWN: Final = 7  # of a path: from a message's content to a property of a tool


def guarded(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Calls what reads or writes nested data; all that can be wrong with the data is a ValueError."""
    try:
        return function(*arguments, **options)
    except msgspec.DecodeError as error:  # no ValueError in msgspec 0.20
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("the data is nested too deeply, or contains itself") from None
    except OverflowError as error:
        raise ValueError(str(error)) from None


def converted(data: object, target: type[msgspec.Struct]) -> Any:
    """A dict read as a record. Raises TypeError where it is no dict, else ValueError with the fault's path."""
    if not isinstance(data, Mapping):
        raise TypeError(f"Expected `dict`, got `{type(data).__name__}`")
    return guarded(msgspec.convert, data, target)


def written(write: Callable[[Any], Any], value: Any) -> Any:
    """What `write`, a function of msgspec's, makes of a value that may hold instances of built-ins' subclasses.

    They are made plain first, in a copy: as a hook of msgspec's, their code could change the lists it goes through.
    """
    try:
        return write(value)
    except TypeError:
        return write(plain(value))


def plain(value: Any, text: Callable[[str], str] = str) -> Any:
    """A copy in which all strings, numbers, dicts and lists are of the built-in classes; `text` is done to strings.

    Raises TypeError for what msgspec cannot write.
    """
    if isinstance(value, str):
        return text(str.__str__(value))
    if type(value) in _ATOMS:
        return value
    if isinstance(value, int | float):
        return int.__int__(value) if isinstance(value, int) else float.__float__(value)
    if isinstance(value, dict):
        items = list(dict.items(value))
        return {plain(key, text) if isinstance(key, str) else key: plain(item, text) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, text) for item in list(value)]
    if isinstance(value, msgspec.Struct):
        fields = {name: plain(item, text) for name, item in msgspec.structs.asdict(value).items()}
        return msgspec.structs.replace(value, **fields)
    try:
        msgspec.msgpack.encode(value)
    except TypeError:
        raise TypeError(f"Expected data that JSON can hold, got `{type(value).__name__}`") from None
    return value


def is_small(value: Any) -> bool:
    """Whether a record, or data, holds few values and no NaN, so that `check_repeats` and `check_finite` pass it."""
    data = value._data() if isinstance(value, Record) else [value]
    return data is not None and are_small(data)


def check_repeats(value: Any, most: int = MOST_REPEATED) -> None:
    """Raises ValueError where more than `most` values are written again, for their objects stand in several places.

    Each level of nesting can double what is written, though the objects take no more memory. Data whose objects stand
    in one place each always passes. RecursionError is raised for what contains itself.
    """
    if is_small(value):
        return
    sizes: dict[int, int] = {}
    once: list[int] = []
    if _size(value, sizes, once) - sum(once) > most:
        raise ValueError(
            f"Expected at most {most:,} values that are written again, as their objects stand in several places, "
            f"got more: use fewer objects in several places - at `${_largest(value, sizes)}`"
        )


def _size(value: Any, sizes: dict[int, int], once: list[int]) -> int:
    """How many values are written inside a value. `sizes` are those of objects by id, `once` what each has itself."""
    known = sizes.get(id(value))
    if known is not None:
        return known
    items = _items(value)
    own = len(items)
    if isinstance(value, str):
        own = len(value) // VALUE_LENGTH
    elif isinstance(value, dict):
        own += sum(len(key) for key in list(value) if isinstance(key, str)) // VALUE_LENGTH
    size = own
    for item in items:
        if type(item) not in _ATOMS or (type(item) is str and len(item) >= VALUE_LENGTH):
            size += _size(item, sizes, once)
    sizes[id(value)] = size
    once.append(own)
    return size


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(dict.values(value))
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    return list(msgspec.structs.astuple(value)) if issubclass(type(value), msgspec.Struct) else []


def _largest(value: Any, sizes: dict[int, int]) -> str:
    """The path to the largest part of a value, and to the largest part of that, and so on."""
    path = ""
    for _ in range(_STEPS_SHOWN):
        items = _items(value)
        if not items:
            break
        place = max(range(len(items)), key=lambda place: sizes.get(id(items[place]), 0))
        if issubclass(type(value), msgspec.Struct):
            path += f".{value.__struct_fields__[place]}"
        else:
            path += f".{quote(str(list(value)[place]))[1:-1]}" if isinstance(value, dict) else f"[{place}]"
        value = items[place]
    return path


#: In msgpack, a float with all bits of its exponent set: infinity or NaN. No UTF-8 has these bytes, an integer may.
_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")


#: In JSON, null as a value; in a string these characters need not be one.
_NULL: Final = re.compile(rb"null(?<=[:,\[]null)")


def check_finite(value: object, as_json: bytes) -> None:
    """Raises ValueError where a value holds NaN or infinity, for which msgspec has written null in `as_json`."""
    if not _NULL.search(as_json):
        return
    try:
        if not _NOT_FINITE.search(written(msgspec.msgpack.encode, value)):
            return
    except OverflowError:  # an integer beyond 64 bits
        pass
    if not _all_finite(value):
        raise ValueError("Expected finite numbers in the parameters of tools, got NaN or infinity")


def _all_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Record):
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        return all(map(_all_finite, value.values()))
    return all(map(_all_finite, value)) if isinstance(value, list | tuple | set | frozenset) else True


def _as_is(value: Any) -> Any:
    return value


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return _dumped(list(value), _as_json, exclude_none=False)
    return written(msgspec.to_builtins, value)


def _dumped(value: Any, leaf: Callable[[Any], Any], exclude_none: bool) -> Any:
    """Records as dicts. None is left out of records only: in a tool's parameters it is the user's data."""
    if isinstance(value, dict):
        return {key: item if type(item) in _ATOMS else _dumped(item, leaf, exclude_none) for key, item in value.items()}
    if isinstance(value, list):
        return [item if type(item) in _ATOMS else _dumped(item, leaf, exclude_none) for item in value]
    if not isinstance(value, Record):
        return leaf(value)
    fields = msgspec.structs.asdict(value)
    if exclude_none:
        fields = {name: item for name, item in fields.items() if item is not None}
    tag = value.__struct_config__.tag
    return _dumped(fields if tag is None else {"type": tag, **fields}, leaf, exclude_none)


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A JSON schema without references, for no type here holds itself, and without the names and words of classes."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {
        key: _inlined(item, definitions)
        for key, item in schema.items()
        if key != "discriminator" and not (key in ("title", "description") and isinstance(item, str))
    }


class _Checked(msgspec.StructMeta):
    """Checks what a caller gives a record. What msgspec decodes or copies is right and does not come this way."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        if "type" in kwargs and kwargs["type"] == cls.__struct_config__.tag:
            del kwargs["type"]  # so that a part as it is written, taken apart, makes the part
        record = unchecked(cls, *args, **kwargs)
        for name, (classes, items) in _quick_looks(cls).items():
            value = getattr(record, name)
            if type(value) in classes:
                continue
            if type(value) is list and items.issuperset(map(type, value)):
                setattr(record, name, value.copy())
            else:
                setattr(record, name, checked(cls, name, value))
        return record


#: Makes a record of values that are known to be right: `unchecked(TextContent, "text")`.
unchecked: Final = msgspec.StructMeta.__call__


class Record(msgspec.Struct, metaclass=_Checked):
    """What all records share: checks on construction, and what programs use of pydantic's interface."""

    def _with(self, name: str, value: object) -> Self:
        quick = type(value) in _quick_looks(type(self))[name][0]
        setattr(self, name, value if quick else checked(type(self), name, value))
        return self

    def _data(self) -> list[Any] | None:
        """All the data in it that has no type of ours, or None where it takes a closer look to find it."""
        return None

    @classmethod
    def _written_type(cls) -> type[msgspec.Struct]:
        """The shape of this record where it is written as data."""
        return cls

    def model_dump(self, *, mode: Literal["python", "json"] = "python", exclude_none: bool = False) -> dict[str, Any]:
        """The nested form as new dicts and lists, every field and every content part in full, as pydantic names it.

        Mode `python` keeps the members of enums, mode `json` gives what JSON can hold.
        """
        if mode not in ("python", "json"):
            raise ValueError(f"Expected `python` or `json` as mode, got {mode!r}")
        guarded(check_repeats, self)
        dumped: dict[str, Any] = guarded(_dumped, self, _as_json if mode == "json" else _as_is, exclude_none)
        return dumped

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        """The record itself, or one read from its nested or its flat form, as pydantic names it.

        Raises TypeError where `obj` is neither an instance nor a dict, else ValueError with the fault's path.
        """
        record: Self = obj if isinstance(obj, cls) else converted(obj, cls)
        return record

    @classmethod
    def _pydantic_validate(cls, obj: Any) -> Self:
        try:
            return cls.model_validate(obj)
        except TypeError as error:
            raise ValueError(str(error)) from None  # pydantic lets a TypeError through, reports a ValueError

    def _pydantic_dump(self, info: SerializationInfo) -> dict[str, Any]:
        mode: Literal["python", "json"] = "json" if info.mode == "json" else "python"
        return self.model_dump(mode=mode, exclude_none=info.exclude_none)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            cls._pydantic_validate,
            serialization=core_schema.plain_serializer_function_ser_schema(cls._pydantic_dump, info_arg=True),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        written = msgspec.json.schema(cls._written_type())
        return {"title": cls.__name__, **_inlined(written, written["$defs"])}
