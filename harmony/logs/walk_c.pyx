# cython: language_level=3, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Takes records apart along the paths of a plan, compiled. Its twin `walk_py.py` says what every public name does.

It walks through the bytes of a value, and makes objects only of what a record keeps. Where a record is not as its paths
say, the twin takes it apart again, and tells what is wrong.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t

from harmony.logs.scan_json cimport behind_space, behind_string, behind_value

import msgspec

from harmony.logs import walk_py

cdef object RAW = msgspec.Raw
cdef object STRING = msgspec.json.Decoder(str)
cdef dict NAMES = {}  # of members, by their bytes
cdef Py_ssize_t MOST_NAMES = 4096


cdef class Node:
    """Node(at=\'\')
--

The paths of a plan that begin alike: the next steps, and the path that ends here."""
    cdef public str at, path
    cdef public dict children
    cdef public bint has_list, takes_list

    def __init__(self, str at=""):
        self.at = at
        self.children = {}
        self.has_list = self.takes_list = False


class Odd(Exception):
    """Raised where a value is not what the next step of a path takes, or where a name stands twice."""


cdef object ODD = Odd()


def variants(root, fields):
    """The completions of a record. Raises ValueError, with the place, where a value is no list or no object."""
    cdef dict whole = dict(fields)
    cdef dict found = {}
    cdef list several = None
    cdef Node child
    spread = None
    try:
        for step, child in (<Node>root).children.items():
            value = whole.get(step)
            if value is None:
                continue
            if not child.children:
                found[child.path] = value
            elif child.has_list:
                spread, several = step, opened(child, value, found)
            else:
                whole[step] = (<tuple>opened(child, value, found)[0])[2]
    except Odd:
        return walk_py.variants(root, fields)
    return together(spread, several, whole, found)


cdef list together(object step, list several, dict whole, dict found):
    """The variants of an object. If one of its members has `several`, that is the one behind `step`."""
    if several is None:
        return [((), found, whole)]
    if len(several) == 1:
        indices, own, part = <tuple>several[0]
        found.update(own)
        whole[step] = part
        return [(indices, found, whole)]
    return [(indices, {**found, **own}, {**whole, step: part}) for indices, own, part in several]


cdef list opened(Node node, object value, dict found):
    cdef Py_buffer view
    PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
    try:
        return value_of(node, <const uint8_t *>view.buf, <const uint8_t *>view.buf + view.len, found)
    finally:
        PyBuffer_Release(&view)


cdef list value_of(Node node, const uint8_t *at, const uint8_t *end, dict found):
    cdef bint is_null = end - at == 4 and at[0] == c"n"
    if node.path is not None or is_null or not node.children:
        whole = raw(at, end)
        if node.path is not None:
            found[node.path] = whole
        if is_null and None in node.children:
            raise ODD
        if is_null or not node.children:
            return [((), found, whole)]
    if at[0] != (c"[" if node.takes_list else c"{"):
        raise ODD
    at = behind_space(at + 1, end)
    if not node.takes_list:
        return members(node, at, end, found)
    child = node.children.get(None)
    return items(node, at, end, found) if child is None else each(child, at, end)


cdef list members(Node node, const uint8_t *at, const uint8_t *end, dict found):
    """The variants of an object. `found` gets what all variants share."""
    cdef const uint8_t *start
    cdef dict whole = {}
    cdef list inside, several = None
    cdef Node child
    spread = None
    while at < end and at[0] == c'"':
        start = at
        at = behind_string(at, end)
        name = name_of(start + 1, at - start - 2)
        at = behind_space(at, end)
        start = behind_space(at + 1, end)  # behind the colon
        at = behind_value(start, end)
        child = node.children.get(name)
        if child is None:
            whole[name] = raw(start, at)
        elif name in whole:
            raise ODD
        elif not child.children:
            found[child.path] = whole[name] = raw(start, at)
        else:
            inside = value_of(child, start, at, found)
            if child.has_list:
                spread, several = name, inside
            whole[name] = (<tuple>inside[0])[2]
        at = behind_comma(at, end)
    return together(spread, several, whole, found)


cdef list each(Node node, const uint8_t *at, const uint8_t *end):
    """The variants of all items of an array."""
    cdef const uint8_t *start
    cdef list made = []
    cdef Py_ssize_t index = 0
    while at < end and at[0] != c"]":
        start = at
        at = behind_value(at, end)
        for indices, found, part in value_of(node, start, at, {}):
            made.append(((index, *indices) if indices else (index,), found, [part]))
        at = behind_comma(at, end)
        index += 1
    if not made:
        raise ODD
    return made


cdef list items(Node node, const uint8_t *at, const uint8_t *end, dict found):
    """The variants of an array of which the paths name items."""
    cdef const uint8_t *start
    cdef list given = [], whole, several = None
    cdef set taken = set()  # the items that were taken apart
    cdef Py_ssize_t place, spread = 0
    cdef Node child
    while at < end and at[0] != c"]":
        start = at
        at = behind_value(at, end)
        given.append(raw(start, at))
        at = behind_comma(at, end)
    whole = given[:]
    for step, child in node.children.items():
        place = step if step >= 0 else step + len(given)
        if not 0 <= place < len(given):
            continue
        if child.children and place in taken:
            raise ODD
        inside = opened(child, given[place], found)
        if child.has_list:
            spread, several = place, inside
        part = (<tuple>inside[0])[2]
        if child.children and not isinstance(part, RAW):
            taken.add(place)
            whole[place] = part
    if several is None:
        return [((), found, whole)]
    return [(indices, own, [*whole[:spread], part, *whole[spread + 1:]]) for indices, own, part in several]


cdef inline const uint8_t *behind_comma(const uint8_t *at, const uint8_t *end) noexcept:
    """The place of the next member or item, or of the last bracket."""
    at = behind_space(at, end)
    return behind_space(at + 1, end) if at < end and at[0] == c"," else at


cdef object raw(const uint8_t *start, const uint8_t *end):
    return RAW(PyBytes_FromStringAndSize(<const char *>start, end - start))


cdef object name_of(const uint8_t *text, Py_ssize_t size):
    """The name of a member. Names are the same in all records, so a string is made of each only once."""
    key = PyBytes_FromStringAndSize(<const char *>text, size)
    name = NAMES.get(key)
    if name is None:
        name = STRING.decode(b'"%b"' % key)
        if len(NAMES) < MOST_NAMES:
            NAMES[key] = name
    return name


def take_out(whole, steps):
    """Removes what the steps lead to from the record of a Variant."""
    cdef Py_ssize_t count = len(<tuple>steps), number = 0
    for step in <tuple>steps:
        number += 1
        if isinstance(whole, dict):
            if number == count:
                (<dict>whole).pop(step, None)
                return
            whole = (<dict>whole).get(step)
        elif isinstance(whole, list) and not isinstance(step, str):
            place = step or 0  # of a list that `[]` stands for, only the own item is left
            if not -len(<list>whole) <= place < len(<list>whole):
                return
            if number == count:
                del whole[place]
                return
            whole = whole[place]
        else:
            return
