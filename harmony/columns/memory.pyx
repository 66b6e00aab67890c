# cython: language_level=3, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""The memory of rows for the compiled builder of columns. It grows, is copied into one block, and is reused.

`rows.py` says what the columns hold. This module knows neither tokens nor headers.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset
from harmony.runtime.memory cimport copy_past_cache, resize

from threading import Lock

from harmony.columns.rows import CODED, Columns

cdef enum:
    MOST_BYTES = 5  # bytes of content that are reserved for each token; most tokens have fewer
    TOKENS_A_ROW = 32  # one row is reserved for this many tokens
    BYTES_A_ROW = 160  # or for this many bytes of text
    ROW_ROOM = 64  # spare rows behind each column
    MOST_SPARE = 1 << 28  # bytes that are kept to be reused
    LEAST_SPARE = 1 << 18  # bytes; smaller blocks are not kept, because the C library reuses these itself


cdef inline size_t width_of(int column) noexcept nogil:
    return 8 if column < MESSAGE else 4


def _check_numbers():
    """Raises ImportError if the column numbers in `memory.pxd` differ from the order of Columns in `rows.py`."""
    numbers = {
        "conversation": CONVERSATION, "offsets": OFFSETS, "message": MESSAGE, CODED[0]: CODES,
        CODED[len(CODED) - 1]: CODES + FIELDS - 1, "content_tokens": CONTENT_TOKENS, "end": END, "content": COLUMNS,
    }
    first = Columns._fields.index("conversation")
    for name, number in numbers.items():
        place = Columns._fields.index(name) - first
        if place != number:
            raise ImportError(f"memory.pxd: expected the number {place} for the column `{name}`, found {number}")
    width = sum([width_of(column) for column in range(COLUMNS)])
    if width != ROW_WIDTH:
        raise ImportError(f"memory.pxd: expected a ROW_WIDTH of {width}, found {ROW_WIDTH}")


_check_numbers()


cdef class Memory:
    """A buffer: a part of the memory of another object, which Arrow reads without a copy."""
    cdef object owner
    cdef void *data
    cdef Py_ssize_t size

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data if self.size else <char *>b"", self.size, 1, flags)


cdef Memory memory(object owner, void *data, Py_ssize_t size):
    cdef Memory part = Memory.__new__(Memory)
    part.owner, part.data, part.size = owner, data, size
    return part


@cython.no_gc
cdef class Lease:
    """Gives the memory of rows back for reuse when the last of their columns is deleted."""
    cdef Rows rows

    def __dealloc__(self):
        give_rows(self.rows)


@cython.final
cdef class Rows:
    def __dealloc__(self):
        PyMem_RawFree(self.block)
        PyMem_RawFree(self.starts)
        PyMem_RawFree(self.complete)
        PyMem_RawFree(self.content)

    cdef Py_ssize_t capacity(self) noexcept:
        """The size of the memory in bytes."""
        cdef Py_ssize_t of_conversations = self.conversation_capacity * <Py_ssize_t>(sizeof(int64_t) + 1)
        return (self.row_capacity + ROW_ROOM) * ROW_WIDTH + of_conversations + self.content_capacity

    cdef int begin(self, Py_ssize_t first, Py_ssize_t conversations, Py_ssize_t rows, Py_ssize_t content) except -1:
        """Starts with no rows, and reserves memory. The system provides new memory only when it is written to."""
        self.first, self.conversations = first, conversations
        self.row_count = self.content_size = 0
        self.diagnostics, self.errors = {}, {}
        self.reserve_rows(rows)
        self.reserve_content(content)
        if conversations >= self.conversation_capacity:
            resize(<void **>&self.starts, (conversations + 1) * sizeof(int64_t))
            resize(<void **>&self.complete, conversations + 1)
            self.conversation_capacity = conversations + 1
        self.starts[0] = (<int64_t *>self.columns[OFFSETS])[0] = 0
        return 0

    cdef int reserve_rows(self, Py_ssize_t count) except -1 nogil:
        cdef Py_ssize_t capacity = self.row_count + count
        cdef void *block = NULL
        cdef char *place
        cdef int column
        if self.block is not NULL and capacity <= self.row_capacity:
            return 0
        capacity = (capacity + self.row_capacity // 2 + 63) & ~<Py_ssize_t>63
        resize(&block, (capacity + ROW_ROOM) * ROW_WIDTH)
        place = <char *>block
        for column in range(COLUMNS):
            if self.block is not NULL:
                memcpy(place, self.columns[column], (self.row_count + (column == OFFSETS)) * width_of(column))
            self.columns[column] = place
            place += (capacity + ROW_ROOM) * width_of(column)
        PyMem_RawFree(self.block)
        self.block = block
        self.row_capacity = capacity
        return 0

    cdef int reserve_content(self, Py_ssize_t size) except -1 nogil:
        cdef Py_ssize_t capacity = self.content_size + size + ROOM
        if capacity > self.content_capacity:
            capacity += self.content_capacity // 2
            resize(<void **>&self.content, capacity)
            self.content_capacity = capacity
        return 0

    cdef int append(self, bytes text) except -1:
        self.reserve_content(len(text))
        memcpy(self.content + self.content_size, <const char *>text, len(text))
        self.content_size += len(text)
        return 0

    cdef int add(self, Py_ssize_t index, int number, const int32_t *codes, int length, int end) except -1 nogil:
        """Adds a row. Its content must have been appended. If `codes` is NULL, its codes are null."""
        cdef Py_ssize_t row = self.row_count
        cdef int field
        if row == self.row_capacity:
            self.reserve_rows(1)
        (<int64_t *>self.columns[CONVERSATION])[row] = index
        (<int64_t *>self.columns[OFFSETS])[row + 1] = self.content_size
        (<int32_t *>self.columns[MESSAGE])[row] = number
        for field in range(FIELDS):
            (<int32_t *>self.columns[CODES + field])[row] = -1 if codes is NULL else codes[field]
        (<int32_t *>self.columns[CONTENT_TOKENS])[row] = length
        (<int32_t *>self.columns[END])[row] = end
        self.row_count = row + 1
        return 0

    cdef int replace(self, Py_ssize_t begin) except -1:
        """Replaces invalid UTF-8 in the content from `begin` on with U+FFFD."""
        text = PyUnicode_DecodeUTF8(self.content + begin, self.content_size - begin, "replace")
        self.content_size = begin
        return self.append(text.encode())

    cdef bint has_room(self, Rows other) noexcept:
        return (
            self.row_count + other.row_count <= self.row_capacity
            and self.content_size + other.content_size <= self.content_capacity
        )

    cdef int claim(self, Rows other) except -1:
        """Reserves the place behind all rows for the rows of another."""
        other.to_row, other.to_content = self.row_count, self.content_size
        self.row_count += other.row_count
        self.content_size += other.content_size
        self.diagnostics |= other.diagnostics
        self.errors |= other.errors
        return 0

    cdef void copy(self, Rows other) noexcept nogil:
        """Copies the rows of another to the place that was claimed for them."""
        cdef Py_ssize_t place, row = other.to_row, conversation = other.first - self.first
        cdef int64_t *offsets = <int64_t *>self.columns[OFFSETS] + row
        cdef size_t width
        cdef int column
        copy_past_cache(self.content + other.to_content, other.content, other.content_size)
        for column in range(COLUMNS):
            if column != OFFSETS:
                width = width_of(column)
                memcpy(<char *>self.columns[column] + row * width, other.columns[column], other.row_count * width)
        for place in range(1, other.row_count + 1):
            offsets[place] = (<int64_t *>other.columns[OFFSETS])[place] + other.to_content
        for place in range(1, other.conversations + 1):
            self.starts[conversation + place] = other.starts[place] + row
        memcpy(self.complete + conversation, other.complete, other.conversations)

    cdef int number_values(self, list values) except -1:
        """Numbers the values of each field again, in the order of the first row that has them.

        Threads meet values in any order, and meet some in conversations whose rows were removed. So without this, the
        result would depend on the threads. The codes of roles do not change.
        """
        cdef Py_ssize_t row, count
        cdef int32_t *codes
        cdef int32_t *new = NULL
        cdef int32_t code, used
        cdef int field
        for field in range(1, FIELDS):
            count, used = len(<list>values[field]), 0
            if count == 0:
                continue
            codes = <int32_t *>self.columns[CODES + field]
            resize(<void **>&new, (count + 1) * sizeof(int32_t))
            memset(new, 0xFF, count * sizeof(int32_t))  # -1: not met yet
            with nogil:
                for row in range(self.row_count):
                    code = codes[row]
                    if code >= 0 and new[code] < 0:
                        new[code] = used
                        used += 1
                        if used == count:
                            break
            met = [(new[old], old) for old in range(count) if new[old] >= 0]
            if any([place != old for place, old in met]):
                with nogil:
                    for row in range(self.row_count):
                        if codes[row] >= 0:
                            codes[row] = new[codes[row]]
            values[field] = [(<list>values[field])[old] for _, old in sorted(met)]
        PyMem_RawFree(new)
        return 0

    cdef object finished(self, list values):
        cdef int column
        cdef Lease lease = Lease.__new__(Lease)
        lease.rows = self
        self.number_values(values)
        arrays = [
            memory(lease, self.columns[column], (self.row_count + (column == OFFSETS)) * width_of(column))
            for column in range(COLUMNS)
        ]
        starts = memory(lease, self.starts, (self.conversations + 1) * sizeof(int64_t))
        complete = memory(lease, self.complete, self.conversations)
        content = memory(lease, self.content, self.content_size)
        return Columns(starts, complete, *arrays, content, values, self.diagnostics, self.errors)


# Rows to be reused, the newest last. Reuse is worth it because the first write to new memory is expensive.
cdef list SPARE = []
cdef Py_ssize_t SPARE_BYTES = 0
cdef object LOCK = Lock()  # no thread ever waits for it, so a forked process cannot wait forever


cdef Rows spare_rows(Py_ssize_t asked):
    """Spare rows of about the wanted size, or new ones if there are none."""
    global SPARE_BYTES
    cdef Py_ssize_t place
    cdef Rows rows
    if asked >= LEAST_SPARE and LOCK.acquire(blocking=False):
        try:
            for place in range(len(SPARE) - 1, -1, -1):
                rows = SPARE[place]
                if asked // 2 <= rows.asked <= 2 * asked:
                    del SPARE[place]
                    SPARE_BYTES -= rows.capacity()
                    return rows
        finally:
            LOCK.release()
    return Rows()


cdef Rows take_rows(Py_ssize_t first, Py_ssize_t conversations, Py_ssize_t tokens, Py_ssize_t bytes_of_texts):
    """Empty rows for some conversations, with tokens or texts, in reused memory if possible."""
    cdef Py_ssize_t count = conversations + tokens // TOKENS_A_ROW + bytes_of_texts // BYTES_A_ROW
    cdef Py_ssize_t content = MOST_BYTES * tokens + bytes_of_texts
    cdef Py_ssize_t asked = count * ROW_WIDTH + content
    cdef Rows rows = spare_rows(asked)
    rows.asked = asked
    rows.begin(first, conversations, count, content)
    return rows


cdef int give_rows(Rows rows) except -1:
    """Keeps the memory for reuse, unless it is small, has grown too much, or all spare memory would be too much."""
    global SPARE_BYTES
    cdef Py_ssize_t capacity = rows.capacity()
    cdef list ended = []  # deleted at the return, when the lock is free again
    cdef Rows oldest
    rows.diagnostics = rows.errors = None
    if rows.asked < LEAST_SPARE or capacity > min(2 * rows.asked, <Py_ssize_t>MOST_SPARE):
        return 0
    if not LOCK.acquire(blocking=False):  # this thread may hold it already: a column can be deleted in here
        return 0
    try:
        SPARE.append(rows)
        SPARE_BYTES += capacity
        while SPARE_BYTES > MOST_SPARE:
            oldest = SPARE.pop(0)
            SPARE_BYTES -= oldest.capacity()
            ended.append(oldest)
    finally:
        LOCK.release()
    return 0


cdef inline uint8_t signs(const int32_t *numbers, Py_ssize_t count) noexcept nogil:
    """The signs of up to eight numbers: one bit each, 1 if the number is negative."""
    cdef uint32_t found = 0
    cdef Py_ssize_t place
    for place in range(count):
        found |= (<uint32_t>numbers[place] >> 31) << place
    return <uint8_t>found


def validity(buffer):
    """The validity bits of Arrow for int32: 1 if a number is not negative, lowest bit first. None if all are 1."""
    cdef const int32_t[::1] numbers = memoryview(buffer).cast("B").cast("i")
    cdef Py_ssize_t count = numbers.shape[0], place
    cdef bytes bits = PyBytes_FromStringAndSize(NULL, (count + 7) // 8)
    cdef uint8_t *out = <uint8_t *><char *>bits
    cdef uint8_t eight, any_negative = 0
    if count == 0:
        return None
    with nogil:
        for place in range(0, count - 7, 8):
            eight = signs(&numbers[place], 8)
            any_negative |= eight
            out[place >> 3] = ~eight
        if count & 7:
            eight = signs(&numbers[count & ~<Py_ssize_t>7], count & 7)
            any_negative |= eight
            out[count >> 3] = ~eight & ((1 << (count & 7)) - 1)
    return bits if any_negative else None


def bits_of_rows(complete, conversation):
    """The bits of Arrow that say for each row whether its conversation is complete, lowest bit first."""
    cdef const uint8_t[::1] flags = memoryview(complete).cast("B")
    cdef const int64_t[::1] indices = memoryview(conversation).cast("B").cast("q")
    cdef Py_ssize_t count = indices.shape[0], place
    cdef bytes bits = PyBytes_FromStringAndSize(NULL, (count + 7) // 8)
    cdef uint8_t *out = <uint8_t *><char *>bits
    cdef uint8_t eight = 0
    with nogil:
        for place in range(count):
            eight |= (flags[indices[place]] != 0) << (place & 7)
            if place & 7 == 7:
                out[place >> 3] = eight
                eight = 0
        if count & 7:
            out[count >> 3] = eight
    return bits


def ascending(offsets):
    """A copy of offsets as int64, and the place of the first one that is below the one before; 0 if none is."""
    cdef Py_ssize_t count = len(offsets), place
    cdef Py_ssize_t width = offsets.itemsize
    cdef const uint8_t[::1] given = offsets.cast("B")
    cdef bytes data = PyBytes_FromStringAndSize(NULL, count * sizeof(int64_t))
    cdef int64_t *copied = <int64_t *><char *>data
    cdef int32_t number
    if count == 0:
        return memoryview(data).cast("q"), 0
    with nogil:
        if width == sizeof(int64_t):
            memcpy(copied, &given[0], count * sizeof(int64_t))
        else:
            for place in range(count):
                memcpy(&number, &given[place * sizeof(int32_t)], sizeof(int32_t))
                copied[place] = number
        for place in range(1, count):
            if copied[place] < copied[place - 1]:
                break
        else:
            place = 0
    return memoryview(data).cast("q"), place
