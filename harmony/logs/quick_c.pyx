# cython: language_level=3, freethreading_compatible=True
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""Records read in one pass over their bytes, compiled. Its twin `quick_py.py` says what every public name does.

The parts of a record that lie on the way to a path are noted, in their order, as entries. The entries of the items that
`[]` stands for follow each other. So a completion has the entries before all items, those of its own item, and those
behind all items. A record that is not certainly valid is left to `walk_c.pyx`, and so is one that the plan may not fit.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

cdef extern from *:
    """
    #define SCATTER 0x9E3779B97F4A7C15ULL
    """
    const uint64_t SCATTER  # 2 ** 64 divided by the golden ratio

from harmony.logs.json_c cimport Ids
from harmony.logs.scan_json cimport EIGHT, behind_certain, behind_certain_string, behind_space

import msgspec

from harmony.logs.paths import INDEX
from harmony.logs.quick_py import SCANNED

cdef object RAW = msgspec.Raw
cdef bytes INDEX_MEMBER = b',"%b":' % INDEX.encode()

cdef enum:
    MOST_PLACES = 32
    MOST_MEMBERS = 64  # of an object on the way to a path
    LEAF, OBJECT, ARRAY, END  # kinds of entries; a leaf is a value that is not taken apart


cdef struct Name:
    const char *text
    Py_ssize_t size
    uint64_t mark


cdef struct Place:  # a node of the plan; its children follow each other
    Name name
    int first, count  # its children
    int path  # the number of the path that ends here, or -1
    bint is_list


cdef struct Entry:
    int kind
    int path
    const uint8_t *name  # with its quotes; none in a list
    const uint8_t *behind_name
    const uint8_t *value
    const uint8_t *behind
    Py_ssize_t first, count  # of its ids, if they were read


cdef class Quick:
    """Quick(plan, tokens, taken)
--

Reads a record in one pass where that is certainly the same as reading it along the plan.

    `tokens` is the path to the ids of completions. `taken` are names that no such record has at its top.
    """
    cdef Place[MOST_PLACES] places
    cdef Name[MOST_MEMBERS] taken
    cdef int place_count, taken_count, tokens
    cdef list paths, kept  # `kept` holds what the names point into
    cdef bint usable, has_list
    cdef Ids ids
    cdef Entry *entries
    cdef Py_ssize_t size, capacity
    cdef Py_ssize_t *items  # the first entry of each item, and behind the last
    cdef Py_ssize_t item_count, item_capacity
    cdef object line

    def __dealloc__(self):
        PyMem_Free(self.entries)
        PyMem_Free(self.items)

    def __init__(self, plan, tokens, taken):
        self.paths, self.kept, self.ids = [], [], Ids()
        self.tokens = -1
        self.usable = EIGHT and len(taken) < MOST_MEMBERS
        nodes = [("", plan.root)]
        number = 0
        while number < len(nodes) and self.usable:
            self.lay_down(number, nodes, plan.is_flat)
            number += 1
        self.place_count = number
        names = [*taken, INDEX] if self.has_list else taken
        for name in names if self.usable else ():
            self.taken[self.taken_count] = self.named(name)
            self.taken_count += 1
        if tokens in self.paths:
            self.tokens = self.paths.index(tokens)

    cdef Name named(self, str text):
        cdef Name name
        cdef bytes written = text.encode("utf-8", "surrogatepass")
        self.kept.append(written)
        name.text, name.size = written, len(written)
        name.mark = mark_of(<const uint8_t *>name.text, name.size)
        return name

    cdef int lay_down(self, int number, list nodes, bint is_flat) except -1:
        """Makes the place of a node, and lists its children behind the others."""
        cdef Place place
        step, node = nodes[number]
        place.name = self.named(step or "")
        place.first, place.count, place.path = len(nodes), len(node.children), -1
        place.is_list = node.takes_list and place.count > 0
        if node.path is not None:
            place.path = len(self.paths)
            self.paths.append(step if is_flat else node.path)
        nodes += node.children.items()
        steps = [step for step in node.children if not isinstance(step, str)]
        is_odd = steps not in ([], [None]) or (place.path >= 0 and place.count) or (steps and self.has_list)
        self.has_list = self.has_list or bool(steps)
        self.usable = not is_odd and len(nodes) <= MOST_PLACES
        self.places[number] = place
        return 0

    def take(self, bytes line):
        """Reads a line, and returns how many completions it has; 0 if it must be read in another way."""
        cdef const uint8_t *at
        cdef const uint8_t *end
        self.size = self.item_count = self.ids.size = 0
        if not self.usable:
            return 0
        self.line = line  # which the entries point into
        at = line
        end = at + len(line)
        at = self.value(0, behind_space(at, end), end)
        if at is NULL or behind_space(at, end) != end or memchr(<const char *>line, c"\r", at - <const uint8_t *>line):
            return 0
        return self.item_count - 1 if self.has_list and self.item_count > 1 else not self.has_list

    cdef Entry *entry(self, int kind) except NULL:
        """A new entry."""
        cdef void *resized
        cdef Entry *made
        if self.size == self.capacity:
            resized = PyMem_Realloc(self.entries, (2 * self.capacity + 32) * sizeof(Entry))
            if resized is NULL:
                raise MemoryError
            self.entries, self.capacity = <Entry *>resized, 2 * self.capacity + 32
        made = &self.entries[self.size]
        self.size += 1
        made.kind, made.path, made.name, made.first = kind, -1, NULL, -1
        return made

    cdef int note_item(self) except -1:
        """Notes that an item begins, or that the last has ended."""
        cdef void *resized
        if self.item_count == self.item_capacity:
            resized = PyMem_Realloc(self.items, (2 * self.item_capacity + 8) * sizeof(Py_ssize_t))
            if resized is NULL:
                raise MemoryError
            self.items, self.item_capacity = <Py_ssize_t *>resized, 2 * self.item_capacity + 8
        self.items[self.item_count] = self.size
        self.item_count += 1
        return 0

    cdef const uint8_t *value(
        self, int number, const uint8_t *at, const uint8_t *end,
        const uint8_t *name=NULL, const uint8_t *behind_name=NULL,
    ) except? NULL:
        """Reads the value at a place, and returns where it ends; NULL where it is not certainly what the plan takes."""
        cdef Place *place = &self.places[number]
        cdef Entry *entry = self.entry(LEAF if not place.count else ARRAY if place.is_list else OBJECT)
        entry.name, entry.behind_name = name, behind_name
        if at == end:
            return NULL
        if not place.count:
            return self.leaf(self.size - 1, place.path, at, end)
        if at[0] != (c"[" if place.is_list else c"{"):
            return NULL
        at = behind_space(at + 1, end)
        at = self.list_items(place.first, at, end) if place.is_list else self.members(number, at, end)
        if at is not NULL:
            self.entry(END).path = c"]" if place.is_list else c"}"
        return at

    cdef const uint8_t *leaf(self, Py_ssize_t number, int path, const uint8_t *at, const uint8_t *end) except? NULL:
        """Reads a value that is not taken apart. Where it is the ids of a completion, they are kept."""
        cdef Entry *entry = &self.entries[number]
        cdef Py_ssize_t first = self.ids.size
        cdef const uint8_t *behind = NULL
        if path >= 0 and path == self.tokens and at[0] == c"[":
            behind = self.ids.scanned(at, end)
            if behind is NULL:
                self.ids.size = first
            elif self.ids.size > first:
                entry.first, entry.count = first, self.ids.size - first
        if behind is NULL:
            behind = behind_certain(at, end, 0)
        entry.path, entry.value, entry.behind = path, at, behind
        return behind

    cdef const uint8_t *list_items(self, int number, const uint8_t *at, const uint8_t *end) except? NULL:
        if at < end and at[0] == c"]":
            return NULL
        while True:
            self.note_item()
            at = self.value(number, at, end)
            if at is NULL:
                return NULL
            at = behind_space(at, end)
            if at == end or (at[0] != c"," and at[0] != c"]"):
                return NULL
            if at[0] == c"]":
                self.note_item()
                return at + 1
            at = behind_space(at + 1, end)

    cdef const uint8_t *members(self, int number, const uint8_t *at, const uint8_t *end) except? NULL:
        """Reads the members of an object, behind its bracket. No name may stand twice, or be written with escapes."""
        cdef uint64_t[MOST_MEMBERS] marks
        cdef const uint8_t *name
        cdef const uint8_t *behind_name
        cdef uint64_t mark
        cdef int child, count = 0, index
        if at < end and at[0] == c"}":
            return at + 1
        while True:
            name = at
            if at == end or at[0] != c'"' or count == MOST_MEMBERS:
                return NULL
            at = behind_name = behind_certain_string(at, end)
            if at is NULL or memchr(name, c"\\", at - name):
                return NULL
            mark = mark_of(name + 1, at - name - 2)
            for index in range(count):
                if marks[index] == mark:
                    return NULL
            for index in range(0 if number else self.taken_count):
                if self.taken[index].mark == mark:
                    return NULL
            marks[count] = mark
            count += 1
            at = behind_space(at, end)
            if at == end or at[0] != c":":
                return NULL
            at = behind_space(at + 1, end)
            child = self.child(number, mark, name + 1, behind_name - name - 2)
            if child >= 0:
                at = self.value(child, at, end, name, behind_name)
            elif at < end:
                self.entry(LEAF)
                self.entries[self.size - 1].name, self.entries[self.size - 1].behind_name = name, behind_name
                at = self.leaf(self.size - 1, -1, at, end)
            else:
                at = NULL
            if at is NULL:
                return NULL
            at = behind_space(at, end)
            if at == end or (at[0] != c"," and at[0] != c"}"):
                return NULL
            if at[0] == c"}":
                return at + 1
            at = behind_space(at + 1, end)

    cdef int child(self, int number, uint64_t mark, const uint8_t *text, Py_ssize_t size) noexcept:
        """The number of the child with this name, or -1."""
        cdef int child, first = self.places[number].first
        cdef Name *name
        for child in range(first, first + self.places[number].count):
            name = &self.places[child].name
            if name.mark == mark and name.size == size and memcmp(name.text, text, size) == 0:
                return child
        return -1

    def found(self, Py_ssize_t number):
        """What the paths lead to for a completion of the record; SCANNED in the place of ids that were kept."""
        cdef Entry *entry
        cdef Py_ssize_t index = 0
        cdef dict found = {}
        while index < self.size:
            entry = &self.entries[index]
            if entry.kind == LEAF and entry.path >= 0:
                found[self.paths[entry.path]] = SCANNED if entry.first >= 0 else RAW(
                    PyBytes_FromStringAndSize(<const char *>entry.value, entry.behind - entry.value)
                )
            index = self.behind_entry(index, number)
        return found

    def move(self, Py_ssize_t number, Ids ids):
        """Appends the ids of a completion that were kept."""
        cdef Entry *entry
        cdef Py_ssize_t index = 0
        while index < self.size:
            entry = &self.entries[index]
            if entry.kind == LEAF and entry.first >= 0:
                ids.add(self.ids.ids + entry.first, entry.count)
            index = self.behind_entry(index, number)

    def rest(self, Py_ssize_t number, path):
        """The record of a completion as JSON, without what stands at the path."""
        cdef Entry *entry
        cdef Py_ssize_t index = 0, size
        cdef bytes end = b'%b%d}' % (INDEX_MEMBER, number) if self.has_list else b"}"
        cdef int dropped = self.paths.index(path) if path is not None else -1
        cdef bytes made
        cdef char *start
        cdef char *out
        size = len(end) + 2
        while index < self.size:
            size += self.size_of(&self.entries[index])
            index = self.behind_entry(index, number)
        made = PyBytes_FromStringAndSize(NULL, size)
        start = out = made
        index = 0
        while index < self.size - 1:  # the last is the bracket of the record
            entry = &self.entries[index]
            if entry.kind != LEAF or entry.path < 0 or entry.path != dropped:
                out = written(out, entry, index > 0 and (out - 1)[0] != c"{" and (out - 1)[0] != c"[")
            index = self.behind_entry(index, number)
        if out - start == 1 and end[0] == c",":
            index = 1  # no comma
        else:
            index = 0
        memcpy(out, <const char *>end + index, len(end) - index)
        return made[:out - start + len(end) - index]

    cdef Py_ssize_t size_of(self, const Entry *entry) noexcept:
        """The most bytes that an entry may need."""
        cdef Py_ssize_t size = 2
        if entry.name is not NULL:
            size += entry.behind_name - entry.name + 1
        return size + (entry.behind - entry.value if entry.kind == LEAF else 0)

    cdef inline Py_ssize_t behind_entry(self, Py_ssize_t index, Py_ssize_t number) noexcept:
        """The next entry that belongs to a completion."""
        index += 1
        if self.has_list:
            if index == self.items[0]:
                return self.items[number]
            if index == self.items[number + 1]:
                return self.items[self.item_count - 1]
        return index


cdef inline char *written(char *out, const Entry *entry, bint with_comma) noexcept:
    if entry.kind == END:
        out[0] = entry.path
        return out + 1
    if with_comma:
        out[0] = c","
        out += 1
    if entry.name is not NULL:
        memcpy(out, entry.name, entry.behind_name - entry.name)
        out += entry.behind_name - entry.name
        out[0] = c":"
        out += 1
    if entry.kind == LEAF:
        memcpy(out, entry.value, entry.behind - entry.value)
        return out + (entry.behind - entry.value)
    out[0] = c"{" if entry.kind == OBJECT else c"["
    return out + 1


cdef inline uint64_t mark_of(const uint8_t *text, Py_ssize_t size) noexcept:
    """A number that other names seldom have. Where two have the same, a record is read in another way."""
    cdef uint64_t first = 0, last = 0
    if size >= 8:
        memcpy(&first, text, 8)
        memcpy(&last, text + size - 8, 8)
    else:
        memcpy(&first, text, size)
    return (first * SCATTER ^ last) * SCATTER ^ <uint64_t>size
