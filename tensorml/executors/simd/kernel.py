"""Kernels: functions of Python that are compiled on their first use, and kept on disk from then on.

Numba translates a function to LLVM instructions. The rest is done here, for the function alone: there is no way to call
it from Python, no runtime for arrays, and what stays in the process is machine code, not the instructions.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import llvmlite
import numba
from llvmlite import binding, ir
from numba import config, types
from numba.core.caching import FunctionCache
from numba.core.compiler import CompilerBase, Flags, compile_extra
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.registry import cpu_target
from numba.core.runtime.nrt import rtsys
from numba.core.typed_passes import (
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.untyped_passes import (
    DeadBranchPrune,
    FixupArgs,
    IRProcessing,
    ReconstructSSA,
    RewriteSemanticConstants,
    TranslateByteCode,
)

from tensorml.errors import MissingDependencyError

if config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue]
    raise MissingDependencyError(
        "the executor 'simd' cannot compile while NUMBA_DISABLE_JIT is set. Unset it, or convert with executor='torch'"
    )

PASSES = (
    TranslateByteCode,
    FixupArgs,
    IRProcessing,
    RewriteSemanticConstants,
    DeadBranchPrune,
    ReconstructSSA,
    NopythonTypeInference,
    PreLowerStripPhis,
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
)
FLAGS: Any = Flags()
FLAGS.no_compile = FLAGS.no_cpython_wrapper = FLAGS.no_cfunc_wrapper = True
FLAGS.error_model = "numpy"
TARGET: Any = cpu_target
WORD = ir.IntType(64)
DIGEST = hashlib.sha256().digest_size

_ADDRESSES: dict[str, int] = {}  # of the functions of this process, by symbol; under Numba's lock


class Kernel:
    """A step of a machine. function: takes the address of its parameters, the block's first row and its rows.

    It returns 0, or 1 if the rows hold what the model does not take; 1 also if it raises. What it closes over, strings
    and numbers, makes another kernel.
    """

    def __init__(self, function: Callable[..., int]):
        self.function = function

    @cached_property
    def address(self) -> int:
        """Where its machine code begins: a C function of int64 numbers."""
        with global_compiler_lock:
            return address_of(self.function)


def address_of(function: Callable[..., int]) -> int:
    """Where the machine code begins, from this process, from the disk, or compiled now."""
    symbol = symbol_of(function)
    if symbol not in _ADDRESSES:
        file = File(cache_folder(function), f"{symbol}.o", version())
        code = file.read()
        if code is None:
            code = compiled(function, symbol)
            file.write(code)
        _ADDRESSES[symbol] = loaded(code, symbol)
    return _ADDRESSES[symbol]


def symbol_of(function: Callable[..., int]) -> str:
    """The name of the machine code: of the function, its code, what it closes over, and the processor."""
    code, closure = function.__code__, [cell.cell_contents for cell in function.__closure__ or ()]
    own = (function.__module__, function.__qualname__, code.co_code, code.co_consts, code.co_names, closure)
    variant = (own, processor(), sys.version_info[:2])
    name = re.sub(r"\W+", "_", f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}")
    return f"{name}_{hashlib.sha256(repr(variant).encode()).hexdigest()[:16]}".replace("__locals_", "_")


def processor() -> tuple[str, ...]:
    """The system, the processor and what it can do, as code is made for it."""
    return TARGET.target_context.codegen().magic_tuple()


class FrontEnd(CompilerBase):
    """Those of Numba's passes that kernels need."""

    def define_pipelines(self) -> list[PassManager]:
        """One pipeline."""
        manager = PassManager("kernel")
        for each in PASSES:
            manager.add_pass(each, each.__name__)
        manager.finalize()
        return [manager]


def compiled(function: Callable[..., int], symbol: str) -> bytes:
    """An object file with the C function `symbol`. What that calls is a part of it, and has no name outside."""
    context, codegen = TARGET.target_context, TARGET.target_context.codegen()
    library, front_end = codegen.create_library(symbol), cast("Any", FrontEnd)
    kinds = (types.int64,) * function.__code__.co_argcount
    made = compile_extra(
        TARGET.typing_context, context, function, kinds, types.int64, FLAGS, {}, library, pipeline_class=front_end
    )
    library.add_ir_module(c_function(context, made.fndesc, symbol))
    module = library._final_module
    for linked in dict.fromkeys(library._linking_libraries):
        if linked is not rtsys.library:
            module.link_in(linked._get_module_for_linking(), preserve=True)
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != symbol:
            value.linkage = "internal"
    library._optimize_final_module()
    return codegen._tm.emit_object(module)


def c_function(context: Any, made: Any, symbol: str) -> ir.Module:
    """A module with the C function: it calls Numba's, and returns 1 if that raises."""
    module = context.create_module(symbol)
    callee = ir.Function(module, context.call_conv.get_function_type(made.restype, made.argtypes), made.llvm_func_name)
    function = ir.Function(module, ir.FunctionType(WORD, [WORD] * len(made.argtypes)), symbol)
    b = ir.IRBuilder(function.append_basic_block())
    status, result = context.call_conv.call_function(b, callee, made.restype, made.argtypes, function.args)
    b.ret(b.select(status.is_error, ir.Constant(WORD, 1), result))
    return module


def loaded(code: bytes, symbol: str) -> int:
    """The address of a function of an object file, which becomes a part of this process."""
    engine = TARGET.target_context.codegen()._engine._ee
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address(symbol)


class File:
    """Machine code on disk. version: what it depends on; code of another version is replaced.

    folder: None if nothing can be written anywhere.
    """

    def __init__(self, folder: Path | None, name: str, version: bytes):
        self.path = folder / name if folder else None
        self.version = version

    def read(self) -> bytes | None:
        """The code, or None if there is none that is whole and of this version."""
        if self.path is None:
            return None
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        head, code = content[: 2 * DIGEST], content[2 * DIGEST :]
        return code if head == self.version + hashlib.sha256(code).digest() else None

    def write(self, code: bytes) -> None:
        """Keep the code, if there is room."""
        if self.path is None:
            return
        with suppress(OSError):
            handle, temporary = tempfile.mkstemp(dir=self.path.parent)
            with open(handle, "wb") as file:
                file.write(self.version + hashlib.sha256(code).digest() + code)
            os.replace(temporary, self.path)


def cache_folder(function: Callable[..., int]) -> Path | None:
    """Where Numba keeps machine code: beside its source, or in the user's folder; None if neither can be written."""
    try:
        return Path(FunctionCache(function).cache_path)
    except RuntimeError:
        return None


@cache
def version() -> bytes:
    """What tells this version of all kernels from others: they are made of functions of several files."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def cacheable(function: Callable[..., int]) -> bool:
    """Whether there is a folder for its machine code."""
    return cache_folder(function) is not None
