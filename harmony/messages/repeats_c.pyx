# cython: language_level=3, freethreading_compatible=True
"""Whether data is small, compiled. Its twin in Python, `repeats_py.py`, says what that is for.

This module takes no references to the objects that it reads. That is safe because it runs no Python code: while it
holds the GIL, no other thread can change the data. In a Python without the GIL another thread could. There no data
counts as small, so all of it gets the slower checks.
"""

from cpython.bool cimport PyBool_Check
from cpython.dict cimport PyDict_CheckExact, PyDict_Next
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.list cimport PyList_CheckExact, PyList_GET_SIZE
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_GET_LENGTH
from libc.math cimport isfinite

import sys

from harmony.messages.limits import DEEPEST, FEW, VALUE_LENGTH

cdef extern from "Python.h":
    PyObject *list_item "PyList_GET_ITEM"(PyObject *list, Py_ssize_t place) noexcept

cdef Py_ssize_t MOST = FEW
cdef Py_ssize_t CHARACTERS = VALUE_LENGTH
cdef bint HAS_GIL = not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled()
cdef int LEVELS = DEEPEST if HAS_GIL else 0


def is_small(list data):
    """Whether data has at most 10,000 values, all of JSON's types, and no NaN or infinity.

    A text counts as one value, and as one more for every 128 characters. False may also mean that it was not checked.
    """
    return left_of(MOST, <PyObject *>data, LEVELS) >= 0


cdef inline Py_ssize_t values_in(PyObject *text) noexcept:
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(<object>text)
    return 0 if length < CHARACTERS else length // CHARACTERS  # the test saves a division, the slowest step here


cdef inline Py_ssize_t left(Py_ssize_t most, PyObject *value, int levels) noexcept:
    """How many values may still follow: `most`, less this value and the values in it.

    Negative where these are more than `most`, or where one of them is not of JSON's types.
    """
    if PyUnicode_CheckExact(<object>value):
        return most - 1 - values_in(value)
    if PyDict_CheckExact(<object>value) or PyList_CheckExact(<object>value):
        return left_of(most - 1, value, levels - 1)
    if PyFloat_CheckExact(<object>value):
        return most - 1 if isfinite(PyFloat_AS_DOUBLE(<object>value)) else -1
    if <object>value is None or PyLong_CheckExact(<object>value) or PyBool_Check(<object>value):
        return most - 1
    return -1


cdef Py_ssize_t left_of(Py_ssize_t most, PyObject *value, int levels) noexcept:
    """The same as `left` for a dict or a list that is counted already."""
    cdef Py_ssize_t place = 0
    cdef PyObject *key
    cdef PyObject *item
    if levels == 0:
        return -1
    if PyList_CheckExact(<object>value):
        while most >= 0 and place < PyList_GET_SIZE(<object>value):
            most = left(most, list_item(value, place), levels)
            place += 1
        return most
    while most >= 0 and PyDict_Next(<object>value, &place, &key, &item):
        if not PyUnicode_CheckExact(<object>key):
            return -1
        most = left(most - values_in(key), item, levels)
    return most
