"""Where things are in memory: the records of a call plan, which `launcher` writes and `launch` reads, and CPython's and NumPy's objects.

All numbers are byte offsets of int64 words unless said otherwise. The offsets into objects are those of 64-bit builds with the
global interpreter lock; `launcher.supported` compares them with real objects before anything relies on them.
"""

# ---- the plan
STEP = 0  # address of the compiled step
FLAGS = 8  # see below
TABLE = 16  # address of the table's template
TABLE_BYTES = 24
ARGUMENT_COUNT = 32
ARGUMENTS = 40  # address of argument records
CELL_COUNT = 48
CELLS = 56
RESULT_COUNT = 64
RESULTS = 72
ARENA_SLOT = 80  # offset into the table, or -1: no arena
ARENA_SIZE = 88  # address of the size that computes its bytes
ERROR_SLOT = 120  # offset into the table, or -1
ERROR = 128  # address of ERROR_BYTES bytes, where a failing call leaves its error record
TENSOR = 136  # the tensor class
TENSOR_ARRAY = 144  # offset of its array
TENSOR_ALLOC = 152  # its tp_alloc
NDARRAY = 160  # numpy.ndarray
NEW_ARRAY = 168  # PyArray_NewFromDescr
FALLBACK = 176  # callable, or 0
ON_ERROR = 184  # callable, or 0
RETURN = 192  # address of the program that builds what is returned
RETURN_DEPTH = 200  # how many objects that holds at once
GUARD_COUNT = 208
GUARDS = 216  # address of pairs of addresses of sizes that must be equal
GATE = 224  # address of a word that is 0 where compiled calls are allowed, or 0
SPARES = 232  # list of one spare array per cell
NOT_IMPLEMENTED = 240
NONE = 248
CAPSULE = 256  # the capsule type
CALLS = 264  # how often the step ran
DERIVED_COUNT = 272
DERIVED = 280  # address of pairs (offset into the table, address of the size to put there), computed in order before the guards
KEYWORDS = 288  # tuple of names that the last arguments must be passed by, or 0
LEAF_COUNT = 296  # arguments that are no containers
LOCK_COUNT = 304
LOCKS = 312  # address of the addresses of groups (see `locks`), to be locked in this order
FROZEN = 320  # address of a table of values that must be as they were, or 0
PASSED_COUNT = 328  # arguments whose groups are to be locked too
PASSED = 336  # address of pairs: number of the leaf, where it has its group
GROUP_WORDS = 344  # offset of a group's words
PLAN_BYTES = 352

RELEASE_GIL = 1  # FLAGS: other Python threads may run during the step
GUARDED = 2  # FLAGS: Python code may run during the step, so what the step reads is held on to

# ---- one argument, one cell, one result; they begin alike
KIND = 0
SLOT = 8  # offset into the table that gets the address, or -1
DESCR = 16  # dtype object
SCALAR = 24  # NumPy scalar class that may stand for (or is made for) an array of rank 0, or 0
RANK = 32
DIMS = 40  # address of pairs (how, what)
OBJECT = 48  # argument: the object to be, a reference to it, or the class of a container or owner; cell: the object that has it, or 0
KEY = 72  # argument in a dict: its key
ACCEPT_RAW = 56  # argument: 1 if a bare ndarray will do
ITEM_BYTES = 64
ALLOC = 72  # result: tp_alloc of SCALAR
WRITE_SLOT = 80  # cell: offset into the table that gets the address to write to, or -1; of KIND GIVEN the number of a result
VALUE_AT = 88  # cell: offset of the tensor in the object
FIXED = 96  # 1 if no dim depends on a size
LEAF = 104  # cell: number of the argument that has it, if OBJECT is 0; owner: of the first one that is the same, -1: any
HAS_AT = 112  # owner: offset of what must be HAS, or 0
HAS = 120
RECORD_BYTES = 128

# KIND of an argument: tensor; this object; same class and equal; same class and same 8 bytes; what a weak reference refers to; what has
# cells; containers of RANK records at DIMS
ARRAY, SAME, EQUAL, BITS, WEAK, OWNER, IN_TUPLE, IN_LIST, IN_DICT = 0, 1, 2, 3, 4, 5, 6, 7, 8
READ, IN_PLACE, SWAP, GIVEN = 0, 1, 2, 3  # KIND of a cell
FRESH, DELIVERED = 0, 1  # KIND of a result: the launcher allocates it; the step does
EXACT, BIND, SIZE = 0, 1, 2  # how a dim is given: number; the size at this offset of the table becomes it; is that size already
COMPUTED = 3  # results only: address of a size

# ---- the table of values that must be as they were: a word that counts its rows (-1: something is gone), three unused ones, rows of 4 words
# item: dict, key, value; attribute: object, name, value; cell: cell, nothing, value; bytes: address, address of what was there, words of 4 bytes
FROZEN_ITEM, FROZEN_ATTRIBUTE, FROZEN_CELL, FROZEN_BYTES = 0, 1, 2, 3
FROZEN_ROW = 32

# ---- sizes: words of a program for a stack machine
END, CONST, LOAD, ADD, SUB, MUL, FLOORDIV, MINIMUM, MAXIMUM = 0, 1, 2, 3, 4, 5, 6, 7, 8
SIZE_STACK = 64  # words

# ---- what is returned: words of another one
RESULT, OBJECT_ITSELF, ARGUMENT, TUPLE, LIST, DICT, MADE = 1, 2, 3, 4, 5, 6, 7

ERROR_BYTES = 512
RANK_LIMIT = 64  # NumPy's
ARENA_LIMIT = 16  # how many arenas are kept from call to call
POOL_LEAST = 4096  # bytes from which on arrays get memory from the pool
POOL_BUCKETS = 128
POOL_LIMIT = 512 * 2**20  # bytes that may lie in the pool unused

# ---- objects
REFCOUNT = 0  # the low 32 bits
TYPE = 8
CAPSULE_DESTRUCTOR = 40
ARRAY_DATA = 16
ARRAY_RANK = 24  # 32 bits
ARRAY_DIMS = 32
ARRAY_BASE = 48
ARRAY_DESCR = 56
ARRAY_FLAGS = 64  # 32 bits
SCALAR_VALUE = 16
CELL_CONTENT = 16
WEAK_REFERENT = 16
CONTAINER_SIZE = 16
TUPLE_ITEMS = tuple.__basicsize__  # 24; 32 from Python 3.14 on
LIST_ITEMS = 24  # their address
READABLE = 0x101  # contiguous, aligned
WRITABLE = 0x501  # and writeable
