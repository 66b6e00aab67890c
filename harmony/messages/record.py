"""The base class of all records: checks on construction, conversion to and from data, and pydantic's interface.

This module decides what a wrong value in a field raises, and what the nested form looks like. It knows no particular
record.
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
from harmony.messages.words import in_python
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
    """For each field, the classes of values that need no conversion, and the classes of items of a list.

    `list` and `dict` are never among them: a record takes a copy of these, so that no two records share one.
    """
    looks = {}
    for name, field_type in _types(record).items():
        types = _alternatives(field_type)
        lists = [one for one in types if get_origin(one) is list]
        looks[name] = _classes(types), _classes(_alternatives(*get_args(lists[0])) if lists else ())
    return looks


def _classes(types: Iterable[Any]) -> frozenset[type]:
    return frozenset(one for one in types if isinstance(one, type))


def _alternatives(field_type: Any) -> tuple[Any, ...]:
    return get_args(field_type) if get_origin(field_type) in (Union, UnionType) else (field_type,)


@cache
def _holder(record: _Checked, name: str) -> type[msgspec.Struct]:
    """A Struct with this one field. msgspec remembers how to convert a Struct, but not how to convert other types."""
    return msgspec.defstruct(record.__name__, [(name, _types(record)[name])])


class ArgumentError(TypeError, ValueError):
    """Raised where a record cannot be made from its arguments, because one is missing, unknown or of a wrong type.

    It is a TypeError as Python raises, and a ValueError as pydantic raises: programs written for openai-harmony expect
    that one.
    """


def checked(record: _Checked, name: str, value: object) -> Any:
    """The value converted for a field of a record. Raises ArgumentError for a wrong type, else ValueError."""
    if isinstance(value, str):
        value = str.__str__(value)  # a Role as recipient would be formatted as `Role.ASSISTANT`
    try:
        return getattr(msgspec.convert({name: value}, _holder(record, name)), name)
    except msgspec.ValidationError as error:
        text = cast("type[Record]", record)._told(name, value, str(error).replace("`$.", f"`{record.__name__}."))
        raise (ArgumentError if ", got `" in text else ValueError)(text) from None


_ATOMS: Final = frozenset({str, int, float, bool, NoneType})

# A path in an error has at most this many steps: enough to lead from a message's content to a property of a tool.
_STEPS_SHOWN: Final = 7


def guarded(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Calls a function that reads or writes nested data, and raises ValueError for everything wrong with the data."""
    try:
        return function(*arguments, **options)
    except msgspec.DecodeError as error:  # no ValueError in msgspec 0.20
        raise ValueError(in_python(str(error)) if function is msgspec.convert else str(error)) from None
    except RecursionError:
        raise ValueError("the data is nested too deeply, or contains itself") from None
    except OverflowError as error:
        raise ValueError(str(error)) from None


def as_mapping(data: object) -> Mapping[Any, Any]:
    """The data itself, if it is a dict or another mapping. Raises ArgumentError for anything else."""
    if not isinstance(data, Mapping):
        raise ArgumentError(f"Expected `dict`, got `{type(data).__name__}`")
    return data


def converted(data: object, target: type[msgspec.Struct]) -> Any:
    """Reads a dict as a record. Raises ArgumentError where it is none, and ValueError with the path to other faults."""
    return guarded(msgspec.convert, as_mapping(data), target)


def written(write: Callable[[Any], Any], value: Any) -> Any:
    """Calls `write`, a function of msgspec, on a value that may hold instances of subclasses of built-in classes.

    msgspec refuses these. They are then converted in a copy, by `plain`. A hook of msgspec could convert them too, but
    their code would run while msgspec reads the lists around them, and could change these lists.
    """
    try:
        return write(value)
    except TypeError:
        return write(plain(value))


def plain(value: Any, text: Callable[[str], str] = str) -> Any:
    """A copy in which all strings, numbers, dicts and lists are instances of exactly the built-in classes.

    `text` is called on each string. Raises TypeError for a value that msgspec cannot write.
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
    """Whether a record or data is so small, and without NaN, that `check_repeats` and `check_finite` cannot raise."""
    data = value._data() if isinstance(value, Record) else [value]
    return data is not None and are_small(data)


def check_repeats(value: Any, most: int = MOST_REPEATED) -> None:
    """Raises ValueError where more than `most` values would be written more than once.

    An object that stands in several places is written in each of them. For example, `b = [a, a]; c = [b, b]` writes `a`
    four times, and each further level doubles that without using more memory. Data in which each object stands in one
    place always passes. Raises RecursionError for data that contains itself.
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
    """How many values are written for the inside of a value.

    `sizes` collects this number for each object, by its id. `once` collects, for each object, the number of its direct
    items.
    """
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
    """The path from a value to its largest item, from there to the largest item in that, and so on."""
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


#: Infinity or NaN in msgpack: a float whose exponent has all bits set. UTF-8 never has these bytes, an integer may.
_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")


#: `null` as a value in JSON. A string may contain the same characters, so a match proves nothing yet.
_NULL: Final = re.compile(rb"null(?<=[:,\[]null)")


def check_finite(value: object, as_json: bytes) -> None:
    """Raises ValueError where a value holds NaN or infinity. msgspec writes these as null in `as_json`."""
    if not _NULL.search(as_json):
        return
    try:
        if not _NOT_FINITE.search(written(msgspec.msgpack.encode, value)):
            return
    except OverflowError:  # an integer beyond 64 bits
        pass
    if not _all_finite(value):
        raise ValueError("Expected finite numbers in schemas, got NaN or infinity")


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
    """Records as dicts. `exclude_none` leaves None out of records, but not out of a tool's parameters."""
    if isinstance(value, dict):
        return {key: item if type(item) in _ATOMS else _dumped(item, leaf, exclude_none) for key, item in value.items()}
    if isinstance(value, list):
        return [item if type(item) in _ATOMS else _dumped(item, leaf, exclude_none) for item in value]
    if not isinstance(value, Record):
        return leaf(value)
    fields = value._fields()
    if exclude_none:
        fields = {name: item for name, item in fields.items() if item is not None}
    tag = value.__struct_config__.tag
    return _dumped(fields if tag is None else {"type": tag, **fields}, leaf, exclude_none)


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A JSON schema with each reference replaced by its definition, and without titles and descriptions."""
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
    """Checks the arguments of a record's constructor. msgspec decodes and copies records without calling this."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        if "type" in kwargs and kwargs["type"] == cls.__struct_config__.tag:
            del kwargs["type"]  # so `TextContent(**part.to_dict())` works
        try:
            record = unchecked(cls, *args, **kwargs)
        except TypeError as error:
            raise ArgumentError(f"{error} - at `{cls.__name__}`") from None
        for name, (classes, items) in _quick_looks(cls).items():
            value = getattr(record, name)
            if type(value) in classes:
                continue
            if type(value) is list and items.issuperset(map(type, value)):
                setattr(record, name, value.copy())
            else:
                setattr(record, name, checked(cls, name, value))
        return record


#: Makes a record without checks, from values that are known to be right: `unchecked(TextContent, "text")`.
unchecked: Final = msgspec.StructMeta.__call__


class Record(msgspec.Struct, metaclass=_Checked):
    """The base of all records: checks on construction, and the methods of pydantic's interface that programs use."""

    def _with(self, name: str, value: object) -> Self:
        quick = type(value) in _quick_looks(type(self))[name][0]
        setattr(self, name, value if quick else checked(type(self), name, value))
        return self

    @classmethod
    def _told(cls, name: str, value: object, text: str) -> str:
        """The text of an error of msgspec about a value for a field, in Python's words."""
        path = re.search(r" - at `[\w.]+(\[\d+\])?`$", text)
        if path is None:
            return in_python(text)
        alternatives = _alternatives(_types(cls)[name])
        if path[1]:
            lists = [one for one in alternatives if get_origin(one) is list]
            alternatives = _alternatives(*get_args(lists[0])) if lists else ()
        elif not path[0].endswith(f" - at `{cls.__name__}.{name}`"):
            alternatives = ()  # the path leads on, into another record
        records = [one.__name__ for one in alternatives if isinstance(one, _Checked)]
        return in_python(text, " | ".join(records))

    def _data(self) -> list[Any] | None:
        """The users' data in the record, such as the parameters of tools. None where it is not quickly found."""
        return None

    def _fields(self) -> dict[str, Any]:
        """The fields that `model_dump` writes."""
        return msgspec.structs.asdict(self)

    def model_dump(self, *, mode: Literal["python", "json"] = "python", exclude_none: bool = False) -> dict[str, Any]:
        """The nested form as new dicts and lists, with every field. The name is that of pydantic's method.

        `mode="python"` keeps members of enums; `mode="json"` gives only types that JSON has. `exclude_none` leaves out
        fields that are None. Raises ValueError for another mode, and for data that is nested too deeply.
        """
        if mode not in ("python", "json"):
            raise ValueError(f"Expected `python` or `json` as mode, got {mode!r}")
        guarded(check_repeats, self)
        dumped: dict[str, Any] = guarded(_dumped, self, _as_json if mode == "json" else _as_is, exclude_none)
        return dumped

    @classmethod
    def model_validate(cls, obj: Any) -> Self:
        """The record itself, or one read from a dict in either form. The name is pydantic's.

        Raises TypeError where `obj` is neither an instance nor a dict, and ValueError with the path to other faults.
        """
        record: Self = obj if isinstance(obj, cls) else converted(obj, cls)
        return record

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The record as a field of a pydantic model: an instance, or a dict in the nested form; it is dumped nested.

        As for a model of pydantic, a dict is an inexact match, so in a union, `dict` comes first in any order. A strict
        field takes a dict only from JSON.
        """
        from pydantic_core import core_schema

        # Between several matches, pydantic takes the one with the most fields, those of an author included.
        fields = {
            field.name: core_schema.typed_dict_field(
                handler.generate_schema(field.type) if isinstance(field.type, _Checked) else core_schema.any_schema(),
                required=field.required,
            )
            for field in msgspec.structs.fields(cls)
        }
        as_dict = core_schema.typed_dict_schema(fields)
        read = core_schema.no_info_wrap_validator_function(cls._pydantic_validate, as_dict)
        return core_schema.lax_or_strict_schema(
            lax_schema=read,
            strict_schema=core_schema.json_or_python_schema(read, core_schema.is_instance_schema(cls)),
            serialization=core_schema.plain_serializer_function_ser_schema(cls._pydantic_dump, info_arg=True),
        )

    @classmethod
    def _pydantic_validate(cls, value: Any, as_dict: Callable[[Any], Any]) -> Self:
        record: Self = value if isinstance(value, cls) else converted(as_dict(value), cls)
        return record

    def _pydantic_dump(self, info: SerializationInfo) -> dict[str, Any]:
        mode: Literal["python", "json"] = "json" if info.mode == "json" else "python"
        return self.model_dump(mode=mode, exclude_none=info.exclude_none)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        written = msgspec.json.schema(cls)
        return {"title": cls.__name__, **_inlined(written, written["$defs"])}
