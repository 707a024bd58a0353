"""The register-tiled product: `Contract` as LLVM instructions.

A tile of rows x vectors of accumulators stays in registers while the depth loop runs: per step one vector load of `right` for
each column vector, one scalar load of `left` for each row, rows x vectors fused multiply-adds. The epilogue then works on the
accumulators as vectors. Columns that do not fill a vector are masked; rows that do not fill a tile get a smaller tile where
their number is known, and otherwise a tile whose surplus rows repeat the last one and are dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tapejit.codegen.llvm_nest import INDEX, NestPrinter, Unvectorisable, weight
from tapejit.codegen.llvm_scalar import REASSOCIATE
from tapejit.codegen.llvm_text import Slot, Value, literal, register_type
from tapejit.core import dtypes, sizes
from tapejit.core.target import Target
from tapejit.loops.expr import Expr, Load, Var, walk
from tapejit.loops.nest import Contract
from tapejit.loops.walk import expressions, linear

UNROLLED_EPILOGUE = 300  # operations; beyond that the epilogue is a loop over the rows of the tile

# Rows of a tile for each number of column vectors, by how many vector registers there are: as measured, not as counted. Rows at
# unknown distances need a general register each, of which there are fewer.
TILES = {32: {1: 14, 2: 12, 3: 8, 4: 6, 5: 4, 6: 4, 7: 3, 8: 3}, 16: {1: 8, 2: 6, 3: 4, 4: 2, 5: 2, 6: 2}}
TILES_UNKNOWN_STRIDE = {32: {**TILES[32], 1: 12, 2: 8}, 16: TILES[16]}


@dataclass(frozen=True)
class Tiling:
    """Lanes of a vector, vectors in a tile, and the most rows a tile has for each number of vectors."""

    lanes: int
    vectors: int
    heights: dict[int, int]


def tiling(s: Contract, target: Target, known_strides: bool) -> Tiling:
    """The tile for a product. More vectors where there are few rows, fewer lanes where there are few columns."""
    lanes = target.lanes(s.left.dtype)
    columns = s.columns if isinstance(s.columns, int) else None
    rows = s.rows if isinstance(s.rows, int) else None
    if columns is not None:
        while lanes > 1 and lanes // 2 >= columns:
            lanes //= 2
    registers = 32 if target.vector_bits == 512 or "neon" in target.features else 16
    tiles = (TILES if known_strides else TILES_UNKNOWN_STRIDE)[registers]
    needed = -(-columns // lanes) if columns is not None else max(tiles)
    best = min(2, needed) or 1
    for vectors, most in tiles.items():
        if vectors > best and rows is not None and rows <= most and vectors <= needed:
            best = vectors
    return Tiling(lanes, best, tiles)


class KernelPrinter(NestPrinter):
    """Writes the statements of one kernel, products in tiles."""

    def contract(self, s: Contract) -> None:
        if s.left.dtype is not s.right.dtype:
            raise TypeError(f"kernel {self.kernel.name} multiplies {s.left.dtype.short} by {s.right.dtype.short}")
        if self.lanes > 1 or s.left.dtype.kind == "b" or any(isinstance(x, Var) and x.name == s.column for x in walk(s.left)):
            return super().contract(s)
        if s.columns == 1 and self._along(s.left, s.row) and not any(isinstance(x, Var) and x.name == s.row for x in walk(s.right)):
            s = replace(s, row=s.column, rows=s.columns, column=s.row, columns=s.rows, left=s.right, right=s.left)
        mark = self.out.mark()
        saved = dict(self.env), set(self.counting)
        try:
            self._tiled(s, tiling(s, self.target, self._known_strides(s.left)))
        except Unvectorisable:
            self.out.reset(mark)
            self.env, self.counting = saved
            self._scalar_again()
            super().contract(s)

    def _known_strides(self, e: Expr) -> bool:
        return all(sizes.is_known(self.params[x.buffer].shape[1:]) for x in walk(e) if isinstance(x, Load) and x.buffer in self.params)

    def _along(self, e: Expr, variable: str) -> bool:
        """Whether every load in `e` that depends on `variable` goes from element to element of its buffer with it."""
        env, self.env, self.column = self.env, {**self.env, variable: Value("", INDEX, 2)}, variable
        loads = [x for x in walk(e) if isinstance(x, Load) and x.buffer in self.params]
        slopes = [self.slope(linear(x.index, self.params[x.buffer].shape)) for x in loads]
        self.env, self.column = env, None
        return 1 in slopes and all(k in (0, 1) for k in slopes)

    def _scalar_again(self) -> None:
        self.column, self.lanes, self.mask, self.edge, self.base = None, 1, None, None, literal(0, INDEX)

    # -------------------------------------------------------------------------------------------- panels of columns
    def _tiled(self, s: Contract, t: Tiling) -> None:
        width = t.lanes * t.vectors
        if isinstance(s.columns, int):
            full, rest = divmod(s.columns, width)
            self._panels(s, t, literal(0, INDEX), literal(full * width, INDEX), t.vectors, None)
            if rest:
                vectors = -(-rest // t.lanes)
                last = rest - (vectors - 1) * t.lanes
                mask = None
                if last < t.lanes:
                    flags = ", ".join(f"i1 {'true' if lane < last else 'false'}" for lane in range(t.lanes))
                    mask = Value(f"<{flags}>", dtypes.bool_, t.lanes)
                start = literal(full * width, INDEX)
                self._rows(s, t, start, vectors, mask)
            return
        columns = self.dim(s.columns)
        surplus = self._op("urem", columns, literal(width, INDEX))
        whole = self._op("sub nsw", columns, surplus)
        self._panels(s, t, literal(0, INDEX), whole, t.vectors, None)
        self._panels(s, t, whole, columns, 1, columns)

    def _panels(self, s: Contract, t: Tiling, start: Value, stop: Value, vectors: int, limit: Value | None) -> None:
        """Panels of `vectors` column vectors from `start` below `stop`, masked beyond `limit`."""
        if start.known is not None and start.known == stop.known:
            return
        index = self.out.fresh("panel")

        def panel() -> None:
            at = self.env[index]
            assert isinstance(at, Value)
            mask = None
            if limit is not None:
                mask = self._op("icmp slt", self._columns(at, t.lanes), self.broadcast(limit, t.lanes), dtypes.bool_)
            self._rows(s, t, at, vectors, mask)

        if start.known is not None and stop.known == start.known + t.lanes * vectors:
            self.env[index] = start
            panel()
        else:
            self.counted(index, start, stop, panel, step=t.lanes * vectors)

    def _columns(self, first: Value, lanes: int) -> Value:
        """The vector first, first + 1, ..."""
        if lanes == 1:
            return first
        count = Value(f"<{', '.join(f'i64 {lane}' for lane in range(lanes))}>", INDEX, lanes)
        return self._op("add nuw nsw", self.broadcast(first, lanes), count)

    # -------------------------------------------------------------------------------------------- tiles of rows
    def _rows(self, s: Contract, t: Tiling, start: Value, vectors: int, mask: Value | None) -> None:
        """All tiles of one panel."""
        most = t.heights[vectors]
        zero = literal(0, INDEX)
        if isinstance(s.rows, int):
            if s.rows == 0:
                return
            even = [h for h in range(most, (most - 1) // 2, -1) if s.rows % h == 0]  # one height of tile: half the code
            count = s.rows // even[0] if even else -(-s.rows // most)
            height, taller = divmod(s.rows, count)
            self._tiles(s, t, zero, literal(taller * (height + 1), INDEX), height + 1, start, vectors, mask)
            self._tiles(s, t, literal(taller * (height + 1), INDEX), literal(s.rows, INDEX), height, start, vectors, mask)
            return
        rows = self.dim(s.rows)
        surplus = self._op("urem", rows, literal(most, INDEX))
        whole = self._op("sub nsw", rows, surplus)
        self._tiles(s, t, zero, whole, most, start, vectors, mask)
        some, end = self.out.fresh("rest"), self.out.fresh("end")
        self.out.branch(self._op("icmp sgt", surplus, zero).text, some, end)
        self.out.label(some)
        self._tile(s, t, whole, most, start, vectors, mask, surplus)
        self.out.jump(end)
        self.out.label(end)

    def _tiles(
        self, s: Contract, t: Tiling, first: Value, stop: Value, height: int, start: Value, vectors: int, mask: Value | None
    ) -> None:
        if first.known is not None and first.known == stop.known:
            return
        if first.known is not None and stop.known == first.known + height:
            self._tile(s, t, first, height, start, vectors, mask, None)
            return
        index = self.out.fresh("tile")

        def tile() -> None:
            at = self.env[index]
            assert isinstance(at, Value)
            self._tile(s, t, at, height, start, vectors, mask, None)

        self.counted(index, first, stop, tile, step=height)

    def _tile(
        self, s: Contract, t: Tiling, top: Value, height: int, start: Value, vectors: int, mask: Value | None, real: Value | None
    ) -> None:
        """One tile, its first row `top` and first column `start`; of its rows only the first `real` count, if that is given."""
        env, counting = dict(self.env), set(self.counting)
        self.lanes, self.column = t.lanes, s.column
        self.counting |= {s.row, s.column, s.depth_index}
        rows = [self._op("add nuw nsw", top, literal(r, INDEX)) if r else top for r in range(height)]
        if real is not None:
            last = self._op("add nsw", top, self._op("sub nsw", real, literal(1, INDEX)))
            rows = [self._intrinsic("smin", [r, last]) for r in rows]
        bases = [self._op("add nuw nsw", start, literal(v * t.lanes, INDEX)) if v else start for v in range(vectors)]
        columns = [self._columns(b, t.lanes) for b in bases]
        masks = [None] * (vectors - 1) + [mask]

        def at_vector(v: int) -> None:
            self.base, self.env[s.column], self.mask, self.edge = bases[v], columns[v], masks[v], masks[v]

        totals = self._depth(s, rows, vectors, t.lanes, at_vector)
        instructions = sum(map(weight, expressions(s.epilogue))) + len(s.epilogue)
        if real is None and instructions * height * vectors <= UNROLLED_EPILOGUE:
            for r, row in enumerate(rows):
                for v in range(vectors):
                    at_vector(v)
                    self.env[s.row] = row
                    self.env[s.accumulator] = totals[r][v]
                    self.body(s.epilogue)
        else:
            self._epilogue_loop(s, t, top, height, real, totals, at_vector)
        self.env, self.counting = env, counting
        self._scalar_again()

    def _depth(self, s: Contract, rows: list[Value], vectors: int, lanes: int, at_vector: Callable[[int], None]) -> list[list[Value]]:
        """The loop over depth; the accumulators after it."""
        out, dtype = self.out, s.left.dtype
        type_ = register_type(dtype, lanes)
        stop = self.dim(s.depth)
        head, inside, end = (out.fresh(f"{s.depth_index}.{h}") for h in ("head", "body", "end"))
        before = out.block
        out.jump(head)
        out.label(head)
        position = len(out.lines)
        at, following = "%" + out.fresh(s.depth_index), "%" + out.fresh(s.depth_index + ".next")
        total = [[Value("%" + out.fresh(s.accumulator), dtype, lanes) for _ in range(vectors)] for _ in rows]
        out.branch(out.let(f"icmp slt i64 {at}, {stop.text}", "more"), inside, end)
        out.label(inside)
        self.env[s.depth_index] = Value(at, INDEX)
        by_row = any(isinstance(x, Var) and x.name == s.row for x in walk(s.right))
        rights: list[Value] = []
        for v in range(vectors if not by_row else 0):
            at_vector(v)
            rights.append(self.broadcast(self.value(s.right), lanes))
        new = []
        for r, row in enumerate(rows):
            self.env[s.row] = row
            self.mask = self.edge = None
            left = self.broadcast(self.value(s.left), lanes)
            sums = []
            for v in range(vectors):
                at_vector(v)
                right = self.broadcast(self.value(s.right), lanes) if by_row else rights[v]
                sums.append(self._multiply_add(left, right, total[r][v]))
            new.append(sums)
        out.do(f"{following} = add nuw nsw i64 {at}, 1")
        zero = literal(0, dtype, lanes).text
        phis = [f"  {at} = phi i64 [ 0, %{before} ], [ {following}, %{out.block} ]"]
        for olds, news in zip(total, new):
            phis += [f"  {a.text} = phi {type_} [ {zero}, %{before} ], [ {b.text}, %{out.block} ]" for a, b in zip(olds, news)]
        out.lines[position:position] = phis
        note = self.module.node('!{!"llvm.loop.unroll.disable"}')  # the tile keeps the processor busy; more of it costs compile time
        out.jump(head, f", !llvm.loop {self.module.node(f'distinct !{{!self, {note}}}')}")
        out.label(end)
        return total

    def _multiply_add(self, a: Value, b: Value, c: Value) -> Value:
        if a.dtype.kind == "f":
            return self._intrinsic("fmuladd", [a, b, c], REASSOCIATE)
        return self._op("add", self._op("mul", a, b), c)

    def _epilogue_loop(
        self,
        s: Contract,
        t: Tiling,
        top: Value,
        height: int,
        real: Value | None,
        totals: list[list[Value]],
        at_vector: Callable[[int], None],
    ) -> None:
        """The epilogue as a loop over the rows, the accumulators passing through memory."""
        out, vectors = self.out, len(totals[0])
        type_ = totals[0][0].type
        tile = out.local(type_, "tile", height * vectors, align=64)
        for r, line in enumerate(totals):
            for v, value in enumerate(line):
                out.do(f"store {value}, ptr {out.let(f'getelementptr {type_}, ptr {tile}, i64 {r * vectors + v}', 'at')}")
        index = out.fresh("line")

        def line_of_tile() -> None:
            r = self.env[index]
            assert isinstance(r, Value)
            self.env[s.row] = self._op("add nuw nsw", top, r)
            first = self._op("mul nuw nsw", r, literal(vectors, INDEX))
            for v in range(vectors):
                at_vector(v)
                place = self._op("add nuw nsw", first, literal(v, INDEX))
                self.env[s.accumulator] = Slot(out.let(f"getelementptr {type_}, ptr {tile}, {place}", "at"), s.left.dtype, t.lanes)
                self.env[s.accumulator] = self._variable(Var(s.left.dtype, s.accumulator))
                self.body(s.epilogue)

        self.counted(index, literal(0, INDEX), real or literal(height, INDEX), line_of_tile)
