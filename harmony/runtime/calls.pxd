# cython: language_level=3
"""A call in C that takes less time than the same call in Python."""

cdef extern from *:
    """
    /* What `metaclass.__call__(cls, *arguments)` gives, where the metaclass is written in C. */
    static inline PyObject *harmony_called(PyObject *metaclass, PyObject *cls, PyObject *arguments) {
        return ((PyTypeObject *)metaclass)->tp_call(cls, arguments, NULL);
    }
    """
    object called "harmony_called"(object metaclass, object cls, tuple arguments)
