"""The launcher, in the native subset (see `native`): what happens between a Python call and the compiled step, without Python.

`launch` is the C function of a builtin function object whose `self` is the plan (an int64 ndarray, see `layout`): it checks the
arguments, fills the table, runs the step, and builds what is returned. Where anything is not as the plan expects, nothing has
happened yet, and the call goes to the plan's fallback.
"""

from __future__ import annotations

from tapejit.runtime import layout as at
from tapejit.runtime.blocks import release, take, take_arena
from tapejit.runtime.incoming import array_fits, given_as_planned, owner_of, size_of, unchanged
from tapejit.runtime.native import address, c, call, copy, i32, i64, stack, u32
from tapejit.runtime.poll import INTERRUPTED

HELD = 32  # bytes per cell while a call runs: array, fresh array or 0, its tensor, whether the array came from the spares


def launch(plan_array: int, args: int, count: int, keywords: int) -> int:
    plan = i64[plan_array + at.ARRAY_DATA]
    most = i64[plan + at.LOCK_COUNT] + i64[plan + at.PASSED_COUNT]
    if most == 0:
        return _launch(plan, args, count, keywords)
    groups = stack(16 * most)
    locks = _groups(plan, args, count, keywords, groups)
    if locks < 0:
        return _fall_back(plan, args, count, keywords)
    for k in range(locks):
        _lock(i64[groups + 16 * k])
    back = _launch(plan, args, count, keywords)
    for k in range(locks):
        _unlock(i64[groups + 16 * k])
        if i64[groups + 16 * k + 8] != 0:
            c.Py_DecRef(i64[groups + 16 * k + 8])
    return back


def nothing(table: int) -> int:
    """The step of plans that are only there to take arguments apart."""
    return 0


def _groups(plan: int, args: int, count: int, keywords: int, groups: int) -> int:
    """The groups that the call is to lock, each once and in the order of their numbers: pairs of its words and, if it belongs to an
    argument, the group, which is held. How many there are, or -1 if the call does not fit or an argument has no group yet."""
    locks = i64[plan + at.LOCK_COUNT]
    for k in range(locks):
        i64[groups + 16 * k] = i64[i64[plan + at.LOCKS] + 8 * k]
        i64[groups + 16 * k + 8] = 0
    if i64[plan + at.PASSED_COUNT] == 0:
        return locks
    leaves = i64[plan + at.LEAF_COUNT]
    table = stack(i64[plan + at.TABLE_BYTES])
    leaf = stack(8 * leaves)
    if not given_as_planned(plan, args, count, keywords, table, leaf, stack(8 * leaves)):
        return -1
    pair = i64[plan + at.PASSED]
    for _k in range(i64[plan + at.PASSED_COUNT]):
        if i64[i64[leaf + 8 * i64[pair]] + i64[pair + 8]] == 0:
            return -1
        pair += 16
    pair = i64[plan + at.PASSED]
    for _k in range(i64[plan + at.PASSED_COUNT]):
        group = i64[i64[leaf + 8 * i64[pair]] + i64[pair + 8]]
        words = i64[i64[group + i64[plan + at.GROUP_WORDS]] + at.ARRAY_DATA]
        where = locks
        for j in range(locks):
            if where == locks and i64[i64[groups + 16 * j] + 24] >= i64[words + 24]:
                where = j
        if where == locks or i64[groups + 16 * where] != words:
            for j in range(locks - where):
                copy(groups + 16 * (locks - j), groups + 16 * (locks - j - 1), 16)
            i64[groups + 16 * where] = words
            i64[groups + 16 * where + 8] = group
            c.Py_IncRef(group)
            locks += 1
        pair += 16
    return locks


def _lock(group: int) -> int:
    """Wait, without the interpreter's lock, until no other thread has this one."""
    thread = c.PyThread_get_thread_ident()
    if i64[group + 16] == 0 or i64[group + 8] != thread:
        if c.PyThread_acquire_lock(i64[group], 0) & 0xFFFFFFFF == 0:
            state = c.PyEval_SaveThread()
            c.PyThread_acquire_lock(i64[group], 1)
            c.PyEval_RestoreThread(state)
        i64[group + 8] = thread
    i64[group + 16] += 1
    return 0


def _unlock(group: int) -> int:
    i64[group + 16] -= 1
    if i64[group + 16] == 0:
        c.PyThread_release_lock(i64[group])
    return 0


def _launch(plan: int, args: int, count: int, keywords: int) -> int:
    if i64[plan + at.GATE] != 0 and i64[i64[plan + at.GATE]] != 0:
        return _fall_back(plan, args, count, keywords)
    if i64[plan + at.FROZEN] != 0 and not unchanged(i64[plan + at.FROZEN]):
        return _fall_back(plan, args, count, keywords)
    table = stack(i64[plan + at.TABLE_BYTES])
    cells = i64[plan + at.CELL_COUNT]
    results = i64[plan + at.RESULT_COUNT]
    leaves = i64[plan + at.LEAF_COUNT]
    leaf = stack(8 * leaves)  # the arguments
    arrays = stack(8 * (leaves + cells))  # what the step reads, to be held on to where needed
    held = stack(HELD * cells)
    made = stack(8 * results)

    if not given_as_planned(plan, args, count, keywords, table, leaf, arrays):
        return _fall_back(plan, args, count, keywords)
    record = i64[plan + at.CELLS]
    for k in range(cells):
        tensor = i64[owner_of(record, leaf) + i64[record + at.VALUE_AT]]
        if tensor == 0:
            return _fall_back(plan, args, count, keywords)
        if i64[tensor + at.TYPE] != i64[plan + at.TENSOR]:
            return _fall_back(plan, args, count, keywords)
        array = i64[tensor + i64[plan + at.TENSOR_ARRAY]]
        if not array_fits(plan, record, array, table):
            return _fall_back(plan, args, count, keywords)
        i64[arrays + 8 * (leaves + k)] = array
        i64[held + HELD * k] = array
        i64[held + HELD * k + 8] = 0
        i64[held + HELD * k + 16] = 0
        i64[held + HELD * k + 24] = 0
        record += at.RECORD_BYTES
    pair = i64[plan + at.DERIVED]
    for _k in range(i64[plan + at.DERIVED_COUNT]):
        i64[table + i64[pair]] = size_of(i64[pair + 8], table)
        pair += 16
    pair = i64[plan + at.GUARDS]
    for _k in range(i64[plan + at.GUARD_COUNT]):
        if size_of(i64[pair], table) != size_of(i64[pair + 8], table):
            return _fall_back(plan, args, count, keywords)
        pair += 16

    # From here on the call is ours. First everything that can fail for want of memory.
    for k in range(results):
        i64[made + 8 * k] = 0
    enough = _make_cells(plan, held, table, leaf)
    if enough:
        enough = _make_results(plan, made, table)
    kept = 0
    if enough and i64[plan + at.ARENA_SLOT] >= 0:
        kept = take_arena(size_of(i64[plan + at.ARENA_SIZE], table), table + i64[plan + at.ARENA_SLOT])
        if i64[table + i64[plan + at.ARENA_SLOT]] == 0:
            enough = 0
            c.PyErr_NoMemory()
    if not enough:
        _give_up(plan, held, made)
        return 0
    if i64[plan + at.ERROR_SLOT] >= 0:
        error = stack(at.ERROR_BYTES)
        for k in range(at.ERROR_BYTES >> 3):
            i64[error + 8 * k] = 0
        i64[table + i64[plan + at.ERROR_SLOT]] = error

    flags = i64[plan + at.FLAGS]
    i64[plan + at.CALLS] += 1
    if flags == 0:
        status = call(i64[plan + at.STEP], table)
    else:
        for k in range(leaves):
            c.Py_IncRef(i64[leaf + 8 * k])  # until the end: the list that it was in may lose it meanwhile
        for k in range(leaves + cells):
            if i64[arrays + 8 * k] != 0:
                c.Py_IncRef(i64[arrays + 8 * k])
        if flags & at.RELEASE_GIL:
            state = c.PyEval_SaveThread()
            status = call(i64[plan + at.STEP], table)
            c.PyEval_RestoreThread(state)
        else:
            status = call(i64[plan + at.STEP], table)
        for k in range(leaves + cells):
            if i64[arrays + 8 * k] != 0:
                c.Py_DecRef(i64[arrays + 8 * k])
    if i64[plan + at.ARENA_SLOT] >= 0:
        if kept:
            i64[kept + 16] = 0
        else:
            c.free(i64[table + i64[plan + at.ARENA_SLOT]])

    back = _finish(plan, status, held, made, table, leaf)
    if flags != 0:
        for k in range(leaves):
            c.Py_DecRef(i64[leaf + 8 * k])
    return back


def _finish(plan: int, status: int, held: int, made: int, table: int, leaf: int) -> int:
    """What a call gives whose step has returned."""
    if status != 0:
        if i64[plan + at.ERROR_SLOT] >= 0:
            copy(i64[plan + at.ERROR], i64[table + i64[plan + at.ERROR_SLOT]], at.ERROR_BYTES)
        _drop_delivered(plan, table)
        _give_up(plan, held, made)
        if status == INTERRUPTED:  # with the exception set
            return 0
        return _report(plan, status)
    if not _wrap(plan, held, made, table):
        _give_up(plan, held, made)
        return 0
    _swap(plan, held, made, leaf)
    back = _answer(plan, made, leaf)
    for k in range(i64[plan + at.RESULT_COUNT]):
        c.Py_DecRef(i64[made + 8 * k])
    return back


def _fall_back(plan: int, args: int, count: int, keywords: int) -> int:
    if i64[plan + at.FALLBACK] == 0:
        c.Py_IncRef(i64[plan + at.NOT_IMPLEMENTED])
        return i64[plan + at.NOT_IMPLEMENTED]
    return c.PyObject_Vectorcall(i64[plan + at.FALLBACK], args, count, keywords)


def _report(plan: int, status: int) -> int:
    """The status as an int, or what the plan's `on_error` makes of it."""
    number = c.PyLong_FromLongLong(status)
    if number == 0 or i64[plan + at.ON_ERROR] == 0:
        return number
    passed = stack(8)
    i64[passed] = number
    handler = i64[plan + at.ON_ERROR]
    c.Py_IncRef(handler)
    back = c.PyObject_Vectorcall(handler, passed, 1, 0)
    c.Py_DecRef(handler)
    c.Py_DecRef(number)
    return back


# ---------------------------------------------------------------------------------------------- what is made
def _make_cells(plan: int, held: int, table: int, leaf: int) -> int:
    """Decide for every cell that is written where to: into its own array if nobody else can see it, else into another one."""
    record = i64[plan + at.CELLS]
    for k in range(i64[plan + at.CELL_COUNT]):
        if i64[record + at.KIND] == at.IN_PLACE or i64[record + at.KIND] == at.SWAP:
            own = 0
            if i64[record + at.KIND] == at.IN_PLACE:
                tensor = i64[owner_of(record, leaf) + i64[record + at.VALUE_AT]]
                own = u32[tensor + at.REFCOUNT] == 1 and _exclusive(plan, i64[held + HELD * k])
            if own:
                i64[table + i64[record + at.WRITE_SLOT]] = i64[i64[held + HELD * k] + at.ARRAY_DATA]
            else:
                fresh = 0
                if i64[record + at.FIXED]:
                    fresh = i64[i64[i64[plan + at.SPARES] + at.LIST_ITEMS] + 8 * k]
                    if fresh == i64[plan + at.NONE]:
                        fresh = 0
                    elif _exclusive(plan, fresh):
                        c.Py_IncRef(fresh)
                        c.Py_IncRef(i64[plan + at.NONE])
                        c.PyList_SetItem(i64[plan + at.SPARES], k, i64[plan + at.NONE])
                        i64[held + HELD * k + 24] = 1
                    else:
                        fresh = 0
                if fresh == 0:
                    fresh = _new_array(plan, record, table)
                if fresh == 0:
                    return 0
                i64[held + HELD * k + 8] = fresh
                if i64[record + at.WRITE_SLOT] == i64[record + at.SLOT]:  # the step changes the one buffer it reads
                    copy(i64[fresh + at.ARRAY_DATA], i64[table + i64[record + at.SLOT]], _bytes(record, fresh))
                i64[table + i64[record + at.WRITE_SLOT]] = i64[fresh + at.ARRAY_DATA]
        record += at.RECORD_BYTES
    return 1


def _bytes(record: int, array: int) -> int:
    """How many bytes an array of the record's type holds."""
    size = i64[record + at.ITEM_BYTES]
    for k in range(i64[record + at.RANK]):
        size *= i64[i64[array + at.ARRAY_DIMS] + 8 * k]
    return size


def _exclusive(plan: int, array: int) -> int:
    """Whether the one reference to this array is ours, nobody else can see its memory, and it may be written."""
    if i64[array + at.TYPE] != i64[plan + at.NDARRAY] or u32[array + at.REFCOUNT] != 1:
        return 0
    if i32[array + at.ARRAY_FLAGS] & at.WRITABLE != at.WRITABLE:
        return 0
    base = i64[array + at.ARRAY_BASE]
    if base == 0:
        return 1
    return (
        i64[base + at.TYPE] == i64[plan + at.CAPSULE]
        and i64[base + at.CAPSULE_DESTRUCTOR] == address(release)
        and u32[base + at.REFCOUNT] == 1
    )


def _make_results(plan: int, made: int, table: int) -> int:
    record = i64[plan + at.RESULTS]
    for k in range(i64[plan + at.RESULT_COUNT]):
        if i64[record + at.KIND] == at.DELIVERED:
            i64[table + i64[record + at.SLOT]] = 0
        elif i64[record + at.SCALAR] != 0:
            scalar = call(i64[record + at.ALLOC], i64[record + at.SCALAR], 0)
            if scalar == 0:
                return 0
            i64[made + 8 * k] = scalar
            i64[table + i64[record + at.SLOT]] = scalar + at.SCALAR_VALUE
        else:
            array = _new_array(plan, record, table)
            if array == 0:
                return 0
            i64[made + 8 * k] = array
            i64[table + i64[record + at.SLOT]] = i64[array + at.ARRAY_DATA]
        record += at.RECORD_BYTES
    return 1


def _new_array(plan: int, record: int, table: int) -> int:
    """A new array of the record's type and shape, its memory from the pool if it is large."""
    rank = i64[record + at.RANK]
    dims = stack(8 * at.RANK_LIMIT)
    size = i64[record + at.ITEM_BYTES]
    want = i64[record + at.DIMS]
    for k in range(rank):
        how = i64[want + 16 * k]
        what = i64[want + 16 * k + 8]
        dim = what
        if how == at.COMPUTED:
            dim = size_of(what, table)
        elif how != at.EXACT:
            dim = i64[table + what]
        i64[dims + 8 * k] = dim
        size *= dim
    return _array_of(plan, record, rank, dims, size)


def _array_of(plan: int, record: int, rank: int, dims: int, size: int) -> int:
    descr = i64[record + at.DESCR]
    if size < at.POOL_LEAST:
        c.Py_IncRef(descr)
        return call(i64[plan + at.NEW_ARRAY], i64[plan + at.NDARRAY], descr, rank, dims, 0, 0, 0, 0)
    size = (size + 63) & ~63
    block = take(size)
    if block == 0:
        return c.PyErr_NoMemory()
    base = c.PyCapsule_New(block, 0, address(release))
    if base == 0:
        c.free(block)
        return 0
    c.PyCapsule_SetContext(base, size)
    c.Py_IncRef(descr)
    array = call(i64[plan + at.NEW_ARRAY], i64[plan + at.NDARRAY], descr, rank, dims, 0, block, at.WRITABLE, 0)
    if array == 0:
        c.Py_DecRef(base)
        return 0
    i64[array + at.ARRAY_BASE] = base
    return array


def _give_up(plan: int, held: int, made: int) -> int:
    """Drop what was made for a call that did not succeed; spares go back."""
    for k in range(i64[plan + at.CELL_COUNT]):
        fresh = i64[held + HELD * k + 8]
        if i64[held + HELD * k + 16] != 0:
            c.Py_DecRef(i64[held + HELD * k + 16])
        elif fresh != 0:
            if i64[held + HELD * k + 24]:
                c.PyList_SetItem(i64[plan + at.SPARES], k, fresh)
            else:
                c.Py_DecRef(fresh)
    for k in range(i64[plan + at.RESULT_COUNT]):
        if i64[made + 8 * k] != 0:
            c.Py_DecRef(i64[made + 8 * k])
    return 0


def _drop_delivered(plan: int, table: int) -> int:
    record = i64[plan + at.RESULTS]
    for _k in range(i64[plan + at.RESULT_COUNT]):
        if i64[record + at.KIND] == at.DELIVERED:
            c.free(i64[table + i64[record + at.SLOT]])
        record += at.RECORD_BYTES
    return 0


# --------------------------------------------------------------------------------------------- what goes out
def _tensor(plan: int, array: int) -> int:
    """A tensor that takes over the reference to the array; 0, the reference dropped, if there is no memory."""
    tensor = call(i64[plan + at.TENSOR_ALLOC], i64[plan + at.TENSOR], 0)
    if tensor == 0:
        c.Py_DecRef(array)
        return 0
    i64[tensor + i64[plan + at.TENSOR_ARRAY]] = array
    return tensor


def _wrap(plan: int, held: int, made: int, table: int) -> int:
    """Tensors for all results and all new values of cells."""
    for k in range(i64[plan + at.CELL_COUNT]):
        fresh = i64[held + HELD * k + 8]
        if fresh != 0:
            i64[held + HELD * k + 8] = 0
            i64[held + HELD * k + 16] = _tensor(plan, fresh)
            if i64[held + HELD * k + 16] == 0:
                return 0
    good = 1
    record = i64[plan + at.RESULTS]
    for k in range(i64[plan + at.RESULT_COUNT]):
        if i64[record + at.KIND] == at.DELIVERED:
            where = table + i64[record + at.SLOT]
            size = i64[record + at.ITEM_BYTES]
            for d in range(i64[record + at.RANK]):
                size *= i64[where + 8 + 8 * d]
            array = _array_of(plan, record, i64[record + at.RANK], where + 8, size)
            if array == 0:
                good = 0
            else:
                copy(i64[array + at.ARRAY_DATA], i64[where], size)
            c.free(i64[where])
            i64[made + 8 * k] = array
        array = i64[made + 8 * k]
        if array != 0:
            i64[made + 8 * k] = _tensor(plan, array)
        if i64[made + 8 * k] == 0:
            good = 0
        record += at.RECORD_BYTES
    return good


def _swap(plan: int, held: int, made: int, leaf: int) -> int:
    """Give cells their new values. An array that nobody saw but its cell is the spare for the next call."""
    record = i64[plan + at.CELLS]
    for k in range(i64[plan + at.CELL_COUNT]):
        tensor = i64[held + HELD * k + 16]
        if i64[record + at.KIND] == at.GIVEN:
            tensor = i64[made + 8 * i64[record + at.WRITE_SLOT]]
            c.Py_IncRef(tensor)
        if tensor != 0:
            where = owner_of(record, leaf) + i64[record + at.VALUE_AT]
            before = i64[where]
            i64[where] = tensor
            if before != 0:
                if i64[record + at.FIXED] and u32[before + at.REFCOUNT] == 1 and before != tensor:
                    array = i64[held + HELD * k]
                    if i64[before + i64[plan + at.TENSOR_ARRAY]] == array and _exclusive(plan, array):
                        c.Py_IncRef(array)
                        c.PyList_SetItem(i64[plan + at.SPARES], k, array)
                c.Py_DecRef(before)
        record += at.RECORD_BYTES
    return 0


def _answer(plan: int, made: int, leaf: int) -> int:
    """Run the program that builds what is returned."""
    program = i64[plan + at.RETURN]
    values = stack(8 * i64[plan + at.RETURN_DEPTH])
    count = 0
    while i64[program] != at.END:
        op = i64[program]
        what = i64[program + 8]
        program += 16
        built = 0
        if op == at.RESULT:
            built = i64[made + 8 * what]
            c.Py_IncRef(built)
        elif op == at.OBJECT_ITSELF:
            built = what
            c.Py_IncRef(built)
        elif op == at.ARGUMENT:
            built = i64[leaf + 8 * what]
            c.Py_IncRef(built)
        else:
            count -= what
            if op == at.MADE:
                built = c.PyObject_Vectorcall(i64[program], values + 8 * count, what, 0)
                program += 8
            elif op == at.TUPLE:
                built = c.PyTuple_New(what)
            elif op == at.LIST:
                built = c.PyList_New(what)
            else:
                built = c.PyDict_New()
            for k in range(what):
                item = i64[values + 8 * (count + k)]
                if built == 0:
                    c.Py_DecRef(item)
                elif op == at.TUPLE:
                    c.PyTuple_SetItem(built, k, item)
                elif op == at.LIST:
                    c.PyList_SetItem(built, k, item)
                else:
                    if op == at.DICT:
                        c.PyDict_SetItem(built, i64[program + 8 * k], item)
                    c.Py_DecRef(item)  # MADE too: a call holds what it wants to keep
            if op == at.DICT:
                program += 8 * what
            if built == 0:
                for k in range(count):
                    c.Py_DecRef(i64[values + 8 * k])
                return 0
        i64[values + 8 * count] = built
        count += 1
    return i64[values]
