"""Whether a call is as its plan expects, in the native subset (see `native`): arguments, the sizes they bind, and frozen values.

In: a plan (see `layout`) and what a call passes; out: 1 and the table filled, or 0, nothing else having happened.
"""

from __future__ import annotations

from tapejit.runtime import layout as at
from tapejit.runtime.native import c, copy, i32, i64, stack, u32


def unchanged(frozen: int) -> int:
    """Whether the values in a table are as they were."""
    rows = i64[frozen]
    if rows < 0:
        return 0
    row = frozen + at.FROZEN_ROW
    for _k in range(rows):
        kind = i64[row]
        thing = i64[row + 8]
        expected = i64[row + 24]
        if kind == at.FROZEN_BYTES:
            kept = i64[row + 16]
            for j in range(expected):
                if u32[thing + 4 * j] != u32[kept + 4 * j]:
                    return 0
        else:
            if kind == at.FROZEN_ITEM:
                now = c.PyDict_GetItem(thing, i64[row + 16])
            elif kind == at.FROZEN_CELL:
                now = i64[thing + at.CELL_CONTENT]
            else:
                now = c.PyObject_GetAttr(thing, i64[row + 16])
                if now == 0:
                    c.PyErr_Clear()
                else:
                    c.Py_DecRef(now)
            if now != expected:
                return 0
        row += at.FROZEN_ROW
    return 1


def given_as_planned(plan: int, args: int, count: int, keywords: int, table: int, leaf: int, arrays: int) -> int:
    """Whether the arguments of a call are those of the plan; fills the table and notes them and their arrays."""
    given = count
    if keywords != 0:
        given = count + i64[keywords + at.CONTAINER_SIZE]
    if given != i64[plan + at.ARGUMENT_COUNT] or not _keywords(i64[plan + at.KEYWORDS], keywords):
        return 0
    copy(table, i64[plan + at.TABLE], i64[plan + at.TABLE_BYTES])
    leaf_count = stack(8)
    i64[leaf_count] = 0
    return _arguments(plan, i64[plan + at.ARGUMENTS], given, args, table, leaf, arrays, leaf_count)


def owner_of(record: int, leaf: int) -> int:
    """The object that has a cell."""
    if i64[record + at.OBJECT] != 0:
        return i64[record + at.OBJECT]
    return i64[leaf + 8 * i64[record + at.LEAF]]


def _keywords(wanted: int, given: int) -> int:
    """Whether two tuples of interned strings (or nothing) are the same names in the same order."""
    if wanted == 0 or given == 0:
        return wanted == given
    count = i64[wanted + at.CONTAINER_SIZE]
    if i64[given + at.CONTAINER_SIZE] != count:
        return 0
    for k in range(count):
        if i64[wanted + at.TUPLE_ITEMS + 8 * k] != i64[given + at.TUPLE_ITEMS + 8 * k]:
            return 0
    return 1


def _arguments(plan: int, record: int, count: int, values: int, table: int, leaf: int, arrays: int, leaf_count: int) -> int:
    """Whether the values fit the records; containers are entered."""
    for k in range(count):
        value = i64[values + 8 * k]
        kind = i64[record + at.KIND]
        if kind >= at.IN_TUPLE:
            if i64[value + at.TYPE] != i64[record + at.OBJECT]:
                return 0
            inside = i64[record + at.RANK]
            if i64[value + at.CONTAINER_SIZE] != inside:
                return 0
            items = value + at.TUPLE_ITEMS
            if kind == at.IN_LIST:
                items = i64[value + at.LIST_ITEMS]
            elif kind == at.IN_DICT:
                items = stack(8 * inside)
                child = i64[record + at.DIMS]
                for j in range(inside):
                    item = c.PyDict_GetItem(value, i64[child + at.KEY])
                    if item == 0:
                        return 0
                    i64[items + 8 * j] = item
                    child += at.RECORD_BYTES
            if not _arguments(plan, i64[record + at.DIMS], inside, items, table, leaf, arrays, leaf_count):
                return 0
        else:
            at_leaf = i64[leaf_count]
            i64[leaf_count] = at_leaf + 1
            i64[leaf + 8 * at_leaf] = value
            if not _argument(plan, record, value, table, arrays + 8 * at_leaf):
                return 0
            if kind == at.OWNER and i64[record + at.LEAF] >= 0:
                first = 0
                while i64[leaf + 8 * first] != value:
                    first += 1
                if first != i64[record + at.LEAF]:
                    return 0
        record += at.RECORD_BYTES
    return 1


def _argument(plan: int, record: int, value: int, table: int, array: int) -> int:
    i64[array] = 0
    kind = i64[record + at.KIND]
    if kind == at.ARRAY:
        if i64[value + at.TYPE] == i64[plan + at.TENSOR]:
            value = i64[value + i64[plan + at.TENSOR_ARRAY]]
        elif i64[record + at.ACCEPT_RAW] == 0:
            return 0
        i64[array] = value
        return array_fits(plan, record, value, table)
    wanted = i64[record + at.OBJECT]
    if kind == at.WEAK:
        return i64[wanted + at.WEAK_REFERENT] == value and value != i64[plan + at.NONE]  # which it refers to when the object is gone
    if kind == at.OWNER:
        if i64[value + at.TYPE] != wanted:
            return 0
        if i64[record + at.HAS_AT] != 0 and i64[value + i64[record + at.HAS_AT]] != i64[record + at.HAS]:
            return 0
        tensor = i64[value + i64[record + at.VALUE_AT]]
        if tensor == 0:
            return 0
        if i64[tensor + at.TYPE] != i64[plan + at.TENSOR]:
            return 0
        return array_fits(plan, record, i64[tensor + i64[plan + at.TENSOR_ARRAY]], table)
    if value == wanted:
        return 1
    if kind == at.SAME or i64[value + at.TYPE] != i64[wanted + at.TYPE]:
        return 0
    if kind == at.BITS:
        return i64[value + at.SCALAR_VALUE] == i64[wanted + at.SCALAR_VALUE]
    equal = c.PyObject_RichCompareBool(value, wanted, 2) & 0xFFFFFFFF
    if equal > 1:
        c.PyErr_Clear()
    return equal == 1


def array_fits(plan: int, record: int, array: int, table: int) -> int:
    """Whether the object is the array (or scalar) that the record describes; puts its address into the table, binds sizes."""
    if array == 0:
        return 0
    kind = i64[array + at.TYPE]
    if kind == i64[plan + at.NDARRAY]:
        if i64[array + at.ARRAY_DESCR] != i64[record + at.DESCR]:
            return 0
        if i32[array + at.ARRAY_FLAGS] & at.READABLE != at.READABLE:
            return 0
        rank = i64[record + at.RANK]
        if i32[array + at.ARRAY_RANK] != rank:
            return 0
        have = i64[array + at.ARRAY_DIMS]
        want = i64[record + at.DIMS]
        for k in range(rank):
            how = i64[want + 16 * k]
            what = i64[want + 16 * k + 8]
            size = i64[have + 8 * k]
            if how == at.EXACT:
                if size != what:
                    return 0
            elif how == at.BIND:
                i64[table + what] = size
            elif size != i64[table + what]:
                return 0
        data = i64[array + at.ARRAY_DATA]
    elif kind == i64[record + at.SCALAR]:
        data = array + at.SCALAR_VALUE
    else:
        return 0
    if i64[record + at.SLOT] >= 0:
        i64[table + i64[record + at.SLOT]] = data
    return 1


def size_of(program: int, table: int) -> int:
    """Run the program of a size."""
    values = stack(8 * at.SIZE_STACK)
    top = values
    while i64[program] != at.END:
        op = i64[program]
        program += 8
        if op <= at.LOAD:
            i64[top] = i64[program] if op == at.CONST else i64[table + i64[program]]
            program += 8
            top += 8
        else:
            top -= 8
            b = i64[top]
            a = i64[top - 8]
            if op == at.ADD:
                a += b
            elif op == at.SUB:
                a -= b
            elif op == at.MUL:
                a *= b
            elif op == at.FLOORDIV:
                a = 0 if b <= 0 else (a // b if a >= 0 else -((b - 1 - a) // b))
            elif op == at.MINIMUM:
                a = a if a < b else b
            else:
                a = a if a > b else b
            i64[top - 8] = a
    return i64[values]
