"""LLVM IR text in; object code, assembly or optimised IR out. Needs llvmlite alone (imported at the first compile), never Numba.

The text is parsed and verified, then goes through LLVM's -O3 pipeline (inlining, loop and straight-line vectorisation, unrolling)
for one CPU. Object code is position independent, so `load` may place it anywhere and the cache may keep it for other processes.
"""

from __future__ import annotations

import ctypes
import functools
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import llvmlite.binding as llvm

_lock = threading.Lock()  # machines are used by one compilation at a time
_started = False
_machines: dict[tuple[str, str, int, int], Any] = {}


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
    return object_codes((text,), cpu, features, options)[0]


def object_codes(texts: Sequence[str], cpu: str = "", features: str = "", options: Options = DEFAULT) -> tuple[bytes, ...]:
    """`object_code` of several modules, each in a thread of its own."""
    found: list[Any] = [None] * len(texts)

    def work(k: int) -> None:
        try:
            module, machine = _optimized(texts[k], cpu, features, options, k)
            found[k] = _emitted(module, machine)
        except BaseException as error:
            found[k] = error

    with _lock:
        others = [threading.Thread(target=work, args=(k,)) for k in range(1, len(texts))]
        binding()
        for thread in others:
            thread.start()
        work(0)
        for thread in others:
            thread.join()
    for code in found:
        if isinstance(code, BaseException):
            raise code
    return tuple(found)


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


def _optimized(text: str, cpu: str, features: str, options: Options, slot: int = 0) -> tuple[llvm.ModuleRef, Any]:
    """The optimised module, and the machine to write its code with; `slot` numbers modules that are at work at the same time."""
    llvm = binding()
    if not cpu:
        cpu, features = host_cpu()
    machine = _machine(cpu, features, options.opt, slot)
    try:
        module = llvm.parse_assembly(text, llvm.create_context())
        module.verify()
    except RuntimeError as error:
        raise CompileError(f"LLVM does not accept the generated module: {error}".strip(), text) from None
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    tuning = llvm.create_pipeline_tuning_options(speed_level=options.opt)
    tuning.inlining_threshold = options.inline
    tuning.loop_vectorization = tuning.slp_vectorization = options.vectorize
    tuning.loop_interleaving, tuning.loop_unrolling = options.interleave, options.unroll
    builder = llvm.create_pass_builder(machine, tuning)
    run = _unlocked("LLVMPY_RunNewModulePassManager")
    equal = llvm.create_new_module_pass_manager()  # layers of one shape have the same kernels: each is optimised once
    equal.add_merge_functions_pass()
    run(equal, module, builder)
    run(builder.getModulePassManager(), module, builder)
    if _LATE in text:
        module = llvm.parse_assembly(_inlining(str(module)), llvm.create_context())
        passes = llvm.create_new_module_pass_manager()
        passes.add_always_inliner_pass()
        passes.add_global_dead_code_eliminate_pass()
        passes.add_simplify_cfg_pass()
        passes.add_instruction_combine_pass()
        run(passes, module, builder)
    return module, machine


_LATE = '"inline-late"'


def _inlining(text: str) -> str:
    """An optimised module in which functions that have the attribute "inline-late" may be inlined, and go where nothing calls them."""
    text = re.sub(r"^@llvm\.compiler\.used = .*\n", "", text, flags=re.MULTILINE)
    return re.sub(rf"^attributes #\d+ = .*{_LATE}.*$", lambda m: m[0].replace("noinline", "alwaysinline"), text, flags=re.MULTILINE)


def _emitted(module: llvm.ModuleRef, machine: Any) -> bytes:
    """The object code of an optimised module."""
    ffi = binding().ffi
    with ffi.OutputString() as error:
        buffer = _unlocked("LLVMPY_TargetMachineEmitToMemory")(machine, module, 1, error)
        if not buffer:
            raise CompileError(f"LLVM cannot write the code of the module: {error}", str(module))
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


@functools.cache
def _unlocked(name: str) -> Any:
    """A function of llvmlite's library without the lock that llvmlite holds around all of them. Modules, passes and machines of different
    contexts, as ours are, share nothing in LLVM."""
    lib = binding().ffi.lib
    locked = getattr(lib, name)
    function = getattr(ctypes.CDLL(lib._name), name)
    function.argtypes, function.restype = locked.argtypes, locked.restype
    return function


def _machine(cpu: str, features: str, opt: int, slot: int) -> Any:
    key = (cpu, features, opt, slot)
    if key not in _machines:
        target = binding().Target.from_default_triple()
        _machines[key] = target.create_target_machine(cpu=cpu, features=features, opt=opt, reloc="pic", codemodel="small")
    return _machines[key]
