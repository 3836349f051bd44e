"""Circuits without a simulator: the integers that they compute, by NumPy, so that a test builds nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tensorml.executors.fpga.program import Core
from tensorml.executors.reference import evaluate


def core_of(model: Any, *names: str) -> Core:
    """The circuit of outputs of a converted model."""
    program = model._programs.program(model._schema, names)
    return getattr(program, "program", program).core


def integers(core: Core, rows: np.ndarray) -> np.ndarray:
    """What `reference` gives for a circuit's rows: int64 [N, fields] to int64 [N, result fields]."""
    found = evaluate(core.split.circuit, inputs_of(core, rows))
    results = [value.reshape(len(rows), int(np.prod(value.shape[1:]))).astype(np.int64) for value in found.values()]
    return np.concatenate(results, axis=1)


def inputs_of(core: Core, rows: np.ndarray) -> Mapping[str, np.ndarray]:
    """The fields of rows as inputs of the graph of integers."""
    inputs, start = {}, 0
    for entrance in core.split.entrances.values():
        name, columns = core.split.names[entrance.before], len(entrance.fixed.low)
        part = rows[:, start : start + columns]
        shape = (len(rows), *(int(d) for d in entrance.before.shape[1:]))
        inputs[name], start = part.reshape(shape).astype(entrance.before.dtype), start + columns
    return inputs


class Stand:
    """In the place of a simulator."""

    def __init__(self, core: Core):
        self.core = core

    def run(self, rows: np.ndarray) -> np.ndarray:
        return integers(self.core, rows)
