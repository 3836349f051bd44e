"""Modules of fx graphs. Graphs of the same code share a class.

A GraphModule has a class of its own, whose source torch.fx keeps for the life of the process, as torch.jit keeps what
it compiled for it: 2 and up to 1,100 KiB for each model that is converted.
"""

from __future__ import annotations

import linecache
import weakref
from collections.abc import Hashable
from itertools import count
from typing import Any

from torch import fx, nn

_CLASSES: weakref.WeakValueDictionary[Hashable, type[nn.Module]] = weakref.WeakValueDictionary()
_NUMBERS = count()


class Computation(nn.Module):
    """The base of all classes. Its short constructor is read by torch.jit.script each time."""

    def __init__(self) -> None:
        super().__init__()


def module_of(graph: fx.Graph, root: nn.Module) -> nn.Module:
    """A module that runs the graph, without its dead nodes, with the buffers and submodules of `root` that it uses."""
    for node in reversed(graph.nodes):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    module = class_of(graph.python_code("self"))()
    for node in graph.nodes:
        if node.op == "get_attr":
            module.register_buffer(node.target, root.get_buffer(node.target))
        elif node.op == "call_module":
            module.add_module(node.target, root.get_submodule(node.target))
    return module.eval()


def class_of(code: Any) -> type[nn.Module]:
    """The class whose `forward` is this code. It lives as long as its modules, or as torch.jit remembers it."""
    key = (code.src, frozenset((name, id(value)) for name, value in code.globals.items()))
    found = _CLASSES.get(key)
    return found if found is not None else _CLASSES.setdefault(key, compiled(code))


def compiled(code: Any) -> type[nn.Module]:
    """A new class, and its source where tracebacks and torch.jit.script look for it."""
    name = f"<tensorml {next(_NUMBERS)}>"
    namespace = dict(code.globals)
    exec(compile(code.src, name, "exec", dont_inherit=True), namespace)
    linecache.cache[name] = (len(code.src), None, code.src.splitlines(keepends=True), name)
    made = type("Graph", (Computation,), {"forward": namespace.pop("forward"), "__module__": __name__})
    weakref.finalize(made, linecache.cache.pop, name, None).atexit = False
    return made
