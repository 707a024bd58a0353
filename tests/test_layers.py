"""The floors of the house: who may import whom. Imports inside functions and under `if TYPE_CHECKING` count like all others."""

import ast
from pathlib import Path

import networkx as nx
import pytest

PACKAGE = Path(__file__).parent.parent / "tapejit"
FLOORS = {"core": 0, "ir": 1, "loops": 1, "ops": 2, "record": 3, "passes": 4, "schedule": 5, "codegen": 6, "runtime": 7}
FLOORS |= dict.fromkeys(("autograph", "data", "explain", "keras", "train"), 9)  # folders of the porch
COMPILER, PORCH = 8, 9
ON_THE_COMPILER_FLOOR = {"compiler", "stages", "version"}
STRANGERS = [{"ir", "loops"}, {"passes", "schedule", "codegen", "runtime"}]  # who do not know one another

MODULES = {
    ".".join(("tapejit", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def folder(module):
    """The folder a module lies in; "" at the top of the package."""
    parts = module.split(".")[1:]
    return parts[0] if parts and parts[0] in FLOORS else ""


def floor(module):
    if folder(module):
        return FLOORS[folder(module)]
    return COMPILER if module.removeprefix("tapejit.") in ON_THE_COMPILER_FLOOR else PORCH


def imported(path, module):
    """(line, name) of all that the file imports, in full; of `from a import b` it is a.b."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *([base] if base else [])])
            yield from ((node.lineno, f"{base}.{a.name}") for a in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")) and node.args:
            yield node.lineno, ast.literal_eval(node.args[0]) if isinstance(node.args[0], ast.Constant) else ""


def module_of(name):
    """The module of tapejit that an imported name is, or is in; None for what is not tapejit's."""
    while name not in MODULES:
        if not name:
            return None
        name = name.rpartition(".")[0]
    return name


ARROWS = sorted(
    {
        (module, there, line)
        for module, path in MODULES.items()
        for line, name in imported(path, module)
        if (there := module_of(name)) is not None and there != module
    }
)


def told(arrows):
    return "\n".join(f"{MODULES[a].relative_to(PACKAGE.parent)}:{line} imports {b}" for a, b, line in arrows)


def test_every_folder_has_a_floor():
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    assert folders == set(FLOORS)
    assert len(ARROWS) > 100


def test_nothing_imports_from_a_floor_above():
    assert not (upward := [(a, b, line) for a, b, line in ARROWS if floor(b) > floor(a)]), told(upward)


@pytest.mark.parametrize("strangers", STRANGERS, ids=" ".join)
def test_strangers_do_not_know_one_another(strangers):
    assert not (met := [(a, b, line) for a, b, line in ARROWS if folder(a) != folder(b) and {folder(a), folder(b)} <= strangers]), told(met)


def test_no_circles():
    circles = [sorted(c) for c in nx.strongly_connected_components(nx.DiGraph([(a, b) for a, b, _ in ARROWS])) if len(c) > 1]
    assert not circles, told([(a, b, line) for a, b, line in ARROWS for c in circles if a in c and b in c])


def test_only_the_runtime_knows_the_compiler_behind_it():
    behind = [
        f"{path.relative_to(PACKAGE.parent)}:{line} imports {name}"
        for module, path in MODULES.items()
        for line, name in imported(path, module)
        if folder(module) != "runtime" and (name.split(".")[0] == "numba" or name.startswith("llvmlite.binding"))
    ]
    assert not behind, "\n".join(behind)
