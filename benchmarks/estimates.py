"""Fits the costs of the estimate without tools to what Yosys makes of circuits: `python -m benchmarks.estimates`.

Compares are measured alone; what a bit of a choice and of an adder takes is fitted to tree ensembles. Prints the costs
as they stand in tensorml/executors/fpga/estimate.py, and the errors of a new fit and of those that stand there.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from scipy.optimize import nnls

import tensorml
from benchmarks.circuits import CASES, fitted
from tensorml.executors.fpga.accuracy import FixedPoint
from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.estimate import Counts, estimate
from tensorml.executors.fpga.program import FpgaExecutor
from tensorml.executors.fpga.synthesis import synthesize

LEAF_BITS = (3, 4, 6)
WIDTHS = (2, 3, 4, 5, 6, 7, 8, 10, 16)  # of values that are compared
MOST = 40  # compares of one value


def compares(width: int) -> tuple[Circuit, int]:
    """A circuit of compares of one value with constants that are spread evenly, and how many they are."""
    count = min(MOST, 2**width // 2)
    ranks = np.linspace(1, 2**width - 1, count).astype(int)
    held = ", ".join(f"in_row >= {width}'d{rank}" for rank in ranks)
    name = f"compares_{width}"
    text = f"""
module {name} (input wire clk, input wire rst, input wire in_valid, output wire in_ready,
    input wire [{width - 1}:0] in_row, output wire out_valid, output reg [{count - 1}:0] out_row);
    assign in_ready = 1'b1;
    assign out_valid = 1'b0;
    always @(posedge clk) out_row <= {{{held}}};
endmodule
"""
    return Circuit(name, text, (Field("x", width),), tuple(Field(f"y{i}", 1) for i in range(count)), 1), count


def ensembles(only: Sequence[str], bits: Sequence[int]) -> dict[str, Circuit]:
    """The circuits of the models of benchmarks.circuits, with leaves of so many bits."""
    found = {}
    for case in CASES:
        if only and not any(part in case.name for part in only):
            continue
        model, _ = fitted(case)
        graph = tensorml.convert(model, executor="reference").graph.select("predict")
        for size in bits:
            program = FpgaExecutor(fixed=FixedPoint(bits=size)).compile(graph)
            found[f"{case.name}, {size} bits"] = program.core.circuit  # pyright: ignore[reportAttributeAccessIssue]
    return found


def bits_of(counts: Counts, kind: str) -> int:
    """The bits of all operations of a kind."""
    return sum(bits * count for (name, bits), count in counts.items() if name == kind)


def compare_cost(counts: Counts, each: Mapping[int, float]) -> float:
    """The LUTs of all compares; of widths that were not measured by the straight line between those that were."""
    widths = sorted(each)
    costs = [each[width] for width in widths]
    return sum(
        count * float(np.interp(bits, widths, costs)) for (name, bits), count in counts.items() if name == "compare"
    )


def fit(circuits: Mapping[str, Circuit], family: str, console: Console) -> None:
    """Print what fits a family best, by relative error, and the errors."""
    each = {}
    for width in WIDTHS:
        circuit, count = compares(width)
        each[width] = synthesize(circuit, family).luts / count
    luts = np.array([synthesize(circuit, family).luts for circuit in circuits.values()], float)
    known = np.array([compare_cost(circuit.counts, each) for circuit in circuits.values()])
    parts = np.array([[bits_of(c.counts, "choice"), bits_of(c.counts, "adder")] for c in circuits.values()], float)
    costs, _ = nnls(parts / luts[:, None], np.maximum(luts - known, 0) / luts)
    errors = (parts @ costs + known) / luts - 1
    standing = np.array([estimate(circuit.counts, family).luts for circuit in circuits.values()]) / luts - 1
    console.print(f"{family}: a compare by bits { ({w: round(c, 2) for w, c in each.items()}) }")
    console.print(f"{family}: choice {costs[0]:.3f}, adder {costs[1]:.3f} for each bit")
    for name, made, new, old in zip(circuits, luts, errors, standing, strict=True):
        console.print(f"  {name}: {made:,.0f} LUTs, error {new:+.1%}, as it stands {old:+.1%}")


def main(argv: Sequence[str] | None = None) -> None:
    """Fit all families."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimates", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="cases whose names contain one of these")
    parser.add_argument("--bits", nargs="+", type=int, default=list(LEAF_BITS), metavar="N", help="of leaves")
    options = parser.parse_args(argv)
    circuits = ensembles(options.only, options.bits)
    for family in ("ecp5", "xc7"):
        fit(circuits, family, Console(width=160, highlight=False))


if __name__ == "__main__":
    main()
