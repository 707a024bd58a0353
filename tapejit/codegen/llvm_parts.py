"""A module in parts, which the runtime compiles side by side.

In: the functions of a module. Out: the functions of each part. A kernel goes with the functions that hand it to other threads; small functions
that are inlined are in every part that calls them. Parts call one another in one direction only: the last has the entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tapejit.codegen.llvm_text import Module

LEAST = 1000  # lines from which compiling parts side by side pays
EACH = 250  # lines that a kernel counts for besides its own

_NAME = re.compile(r"@([\w.$-]+)")
_HEADER = re.compile(r"^define internal (.*) \{$", re.MULTILINE)
_PARAMETER = re.compile(r" %[\w.]+(?=[,)])")


def parts(module: Module, entry: str, comment: str, attributes: str) -> tuple[str, ...]:
    """The texts of two modules that together are this one; of one where it is small."""
    functions = module.functions
    if sum(f.count("\n") for f in functions.values()) < LEAST:
        return (module.text(comment, attributes),)
    calls = {name: [n for n in dict.fromkeys(_NAME.findall(text)) if n in functions and n != name] for name, text in functions.items()}
    units = _units(functions, calls, entry)
    weights = {root: EACH + sum(functions[n].count("\n") for n in names) for root, names in units.items()}
    first: list[str] = []
    light, heavy = 0, weights.pop(entry)
    for root in sorted(weights, key=lambda r: -weights[r]):
        if light <= heavy:
            first += units[root]
            light += weights[root]
        else:
            heavy += weights[root]
    last = [n for names in units.values() for n in names if n not in first]
    return tuple(_part(module, chosen, calls, comment, attributes) for chosen in (first, last))


def _units(functions: Mapping[str, str], calls: Mapping[str, list[str]], entry: str) -> dict[str, list[str]]:
    """What must stay together: the entry alone, and kernels with those they call, by the name of one of them."""
    unit = {name: [name] for name in functions if _is_kernel(name)}
    for name in list(unit):
        for called in calls[name]:
            if called in unit and unit[called] is not unit[name]:
                unit[name] += unit[called]
                for moved in unit[called]:
                    unit[moved] = unit[name]
    return {entry: [entry]} | {names[0]: names for names in unit.values()}


def _is_kernel(name: str) -> bool:
    return name.startswith("kernel.")


def _part(module: Module, chosen: list[str], calls: Mapping[str, list[str]], comment: str, attributes: str) -> str:
    """The text of a module with the chosen functions, those they inline, and declarations of the kernels that are elsewhere."""
    wanted = list(chosen)
    declared: list[str] = []
    for name in wanted:
        for called in calls[name]:
            if called in wanted or called in declared:
                continue
            (declared if _is_kernel(called) else wanted).append(called)
    texts = {n: _HEADER.sub(r"define \1 {", f) if _is_kernel(n) else f for n, f in module.functions.items() if n in wanted}
    headers = {n: _HEADER.search(module.functions[n]) for n in declared}
    elsewhere = {n: f"declare {_PARAMETER.sub('', header[1])}" for n, header in headers.items() if header is not None}
    return Module(texts, module.declarations | elsewhere, module.metadata, [], module.constants).text(comment, attributes)
