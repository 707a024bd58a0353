"""LLVM IR text in; object code, assembly or optimised IR out. Needs llvmlite alone (imported at the first compile), never Numba.

The text is parsed and verified, then goes through LLVM's -O3 pipeline (inlining, loop and straight-line vectorisation, unrolling)
for one CPU. Object code is position independent, so `load` may place it anywhere and the cache may keep it for other processes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import llvmlite.binding as llvm

_lock = threading.Lock()  # LLVM's global context is not thread-safe
_started = False
_machines: dict[tuple[str, str, int], Any] = {}


class CompileError(RuntimeError):
    """LLVM refused the text: a defect of the code generator, never of the user's program. `text` is what was refused."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text


@dataclass(frozen=True)
class Options:
    """How hard to try. `opt` is LLVM's level 0..3, `inline` the inlining threshold in LLVM's cost units."""

    opt: int = 3
    inline: int = 275
    unroll: bool = True
    vectorize: bool = True
    interleave: bool = True


DEFAULT = Options()


def binding() -> Any:
    """`llvmlite.binding`, with the native target ready."""
    global _started
    import llvmlite.binding as llvm

    if not _started:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        _started = True
    return llvm


def version() -> str:
    """Versions of llvmlite and LLVM, for cache keys, without loading LLVM."""
    import llvmlite

    return f"llvmlite {llvmlite.__version__}"


def object_code(text: str, cpu: str = "", features: str = "", options: Options = DEFAULT) -> bytes:
    """Relocatable object code of the module `text`, for `cpu` with `features` (LLVM's names; "" is the host).

    CompileError quotes the offending line of the text.
    """
    with _lock:
        module, machine = _optimized(text, cpu, features, options)
        return machine.emit_object(module)


def assembly(text: str, cpu: str = "", features: str = "", options: Options = DEFAULT) -> str:
    """The assembly that `object_code` encodes."""
    with _lock:
        module, machine = _optimized(text, cpu, features, options)
        return machine.emit_assembly(module)


def optimized(text: str, cpu: str = "", features: str = "", options: Options = DEFAULT) -> str:
    """The module's LLVM IR after optimisation."""
    with _lock:
        return str(_optimized(text, cpu, features, options)[0])


def host_cpu() -> tuple[str, str]:
    """LLVM's name for this CPU and its features as one string of `+name` and `-name`, comma-separated."""
    llvm = binding()
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM does not know how to ask on this platform
        features = ""
    return llvm.get_host_cpu_name(), features


def _optimized(text: str, cpu: str, features: str, options: Options) -> tuple[llvm.ModuleRef, Any]:
    llvm = binding()
    if not cpu:
        cpu, features = host_cpu()
    machine = _machine(cpu, features, options.opt)
    try:
        module = llvm.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise CompileError(f"LLVM does not accept the generated module: {error}".strip(), text) from None
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    tuning = llvm.create_pipeline_tuning_options(speed_level=options.opt)
    tuning.inlining_threshold = options.inline
    tuning.loop_vectorization = tuning.slp_vectorization = options.vectorize
    tuning.loop_interleaving, tuning.loop_unrolling = options.interleave, options.unroll
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return module, machine


def _machine(cpu: str, features: str, opt: int) -> Any:
    key = (cpu, features, opt)
    if key not in _machines:
        target = binding().Target.from_default_triple()
        _machines[key] = target.create_target_machine(cpu=cpu, features=features, opt=opt, reloc="pic", codemodel="small")
    return _machines[key]
