"""Writes `docs/ops.md`, the table of all ops, from the rows themselves.

python docs/generate_ops.py            writes the page
python docs/generate_ops.py --check    exit status 1 if the page is not what would be written
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_LANGUAGE = ("ir.structure", "record.sizes", "ops.control")  # ops that the schedule itself carries out
PAGE = ROOT / "docs" / "ops.md"

_HEAD = """# Ops

Every op of the tensor IR, by the module of `tapejit/ops` it is in. Written by `python docs/generate_ops.py`; do not edit.

- **symbol**: how a line of the IR writes the op with two operands.
- **operands**: `*x` are any number; attributes follow after `;`, with their defaults.
- **dtypes** of the first operand (of elementwise rows: of all that must agree): `b` bool, `i` signed and `u` unsigned integers, `f` floats,
  `c` complex.
- **gradient**: `yes`, and the operands that none flows to, counted from 1; `none`: the gradient is None; `error`: LookupError when a gradient
  would have to pass through the op.
- **kernel**: `at`: one element as an expression, which fuses with others; `kernel`: a loop nest of its own; `view`: the operand's memory;
  `table`: made when the step is planned;
  `host`: the compiled step calls the NumPy function back; `graph`: part of the language, carried out by the schedule. Complex numbers:
  `by parts` is written with ops on their parts, a kernel `of pairs` takes them as pairs of real ones; else they go through the host.
"""


def _operands(op: Any) -> str:
    from tapejit.ops.families import Elementwise

    parameters = list(inspect.signature(op.infer).parameters.values())
    positional = list(op.operands) if isinstance(op, Elementwise) else []
    attributes = []
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL and not isinstance(op, Elementwise):
            positional.append(f"*{p.name if positional else 'operands'}")
        elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            positional.append(p.name)
        elif p.kind is p.KEYWORD_ONLY:
            attributes.append(p.name if p.default is p.empty else f"{p.name}={p.default!r}")
    return ", ".join(positional) + ("; " + ", ".join(attributes) if attributes else "")


def _dtypes(op: Any) -> str:
    from tapejit.core import dtypes
    from tapejit.core.types import Type
    from tapejit.ir.op import Op
    from tapejit.ops.families import Elementwise
    from tapejit.ops.samples import Draw

    if isinstance(op, Elementwise):
        return op.kinds
    if type(op).samples is Op.samples:
        return ""
    kinds = ""
    for dtype in (dtypes.bool_, dtypes.int32, dtypes.uint8, dtypes.float32, dtypes.complex64):
        for operands, attrs in op.samples(Draw(dtype)):
            if not any(x.dtype == dtype.np for x in operands[:1]):
                continue
            try:
                op.infer(*(Type(dtypes.as_dtype(x.dtype), x.shape) for x in operands), **attrs)
            except TypeError:
                continue
            kinds += dtype.kind
            break
    return kinds


def _gradient(op: Any) -> str:
    from tapejit.ir import structure
    from tapejit.ir.op import Op

    if op in (structure.read, structure.const, structure.gradient):
        return ""
    if op.no_gradient:
        return "none"
    if type(op).vjp is Op.vjp:
        return "error"
    if not op.constant_operands:
        return "yes"
    if -1 in op.constant_operands:
        return "yes, of the first"
    return "yes, not of " + ", ".join(str(k + 1) for k in sorted(op.constant_operands))


def _kernel(op: Any) -> str:
    views = op.view and op.at is None
    real = "view" if views else "at" if op.at is not None else "kernel of pairs" if op.pairs else "kernel" if op.kernel is not None else ""
    forms = [f for f in (real, "by parts" if op.parted is not None else "") if f]
    if not forms and all(p.kind is p.KEYWORD_ONLY for p in inspect.signature(op.infer).parameters.values()):
        return "table"
    return ", ".join(forms) or ("graph" if _module(op) in _LANGUAGE else "host")


def _says(op: Any) -> str:
    """The first paragraph of the op's docstring."""
    doc = op.__doc__ or ""
    return " ".join(inspect.cleandoc(doc).split("\n\n")[0].split())


def _module(op: Any) -> str:
    """The module under `tapejit` whose attribute the op is; rows of a family are found where they were made."""
    for name, module in sorted(sys.modules.items()):
        if name.startswith("tapejit.ops.") and module is not None and any(v is op for v in vars(module).values()):
            source = inspect.getsource(module)
            if re.search(rf'(?:\(\s*|name = )"{op.name}"', source):
                return name.removeprefix("tapejit.")
    return type(op).__module__.removeprefix("tapejit.")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def page() -> str:
    """The text of the page."""
    importlib.import_module("tapejit")
    from tapejit.ir.op import OPS

    groups: dict[str, list[Any]] = {}
    for op in OPS.values():
        groups.setdefault(_module(op), []).append(op)
    out = [_HEAD]
    for module, ops in sorted(groups.items()):
        doc = inspect.getdoc(importlib.import_module(f"tapejit.{module}")) or ""
        out.append(f"## {module}\n\n{doc.splitlines()[0] if doc else ''}\n")
        out.append("| op | symbol | operands; attributes | dtypes | gradient | kernel | meaning |\n|---|---|---|---|---|---|---|")
        for op in sorted(ops, key=lambda o: o.name):
            symbol = f"`{_cell(op.symbol)}`" if op.symbol else ""
            out.append(
                f"| `{op.name}` | {symbol} | {_cell(_operands(op))} | {_dtypes(op)} | {_gradient(op)} | {_kernel(op)} | {_cell(_says(op))} |"
            )
        out.append("")
    return "\n".join(out).rstrip("\n") + "\n"


def main(argv: list[str]) -> int:
    """Write or check the page; returns the exit status."""
    sys.path.insert(0, str(ROOT))
    text = page()
    if "--check" in argv:
        return int(not PAGE.exists() or PAGE.read_text() != text)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
