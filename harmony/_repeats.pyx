# cython: language_level=3, freethreading_compatible=True
"""Whether data is small and plain, compiled. Its twin `_repeats_py.py` says what that is for."""

from libc.math cimport isfinite

from harmony._record import DEEPEST, FEW, VALUE_LENGTH

cdef Py_ssize_t MOST = FEW
cdef Py_ssize_t CHARACTERS = VALUE_LENGTH
cdef int LEVELS = DEEPEST


def is_small(list data):
    return left_of(MOST, data, LEVELS) >= 0


cdef inline Py_ssize_t values_in(str text):
    cdef Py_ssize_t length = len(text)
    return 0 if length < CHARACTERS else length // CHARACTERS  # a division takes longer than all else here


cdef inline Py_ssize_t left(Py_ssize_t most, object value, int levels):
    """What is left of a number of values without a value and those in it; negative where it has more, or others."""
    kind = type(value)
    if kind is str:
        return most - 1 - values_in(<str>value)
    if kind is dict or kind is list:
        return left_of(most - 1, value, levels - 1)
    if kind is float:
        return most - 1 if isfinite(<double>value) else -1
    return most - 1 if value is None or kind is bool or kind is int else -1


cdef Py_ssize_t left_of(Py_ssize_t most, object value, int levels):
    """The same without the values in a dict or a list."""
    if levels == 0:
        return -1
    if type(value) is list:
        for item in <list>value:
            most = left(most, item, levels)
            if most < 0:
                break
        return most
    for key, item in (<dict>value).items():
        if type(key) is not str:
            return -1
        most = left(most - values_in(<str>key), item, levels)
        if most < 0:
            break
    return most
