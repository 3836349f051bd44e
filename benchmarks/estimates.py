"""Fits the costs of the estimate without tools to what Yosys makes of circuits: `python -m benchmarks.estimates`.

Compares are measured alone; what a bit of a choice and of a counter takes is fitted to tree ensembles. Prints the costs
as they stand in tensorml/executors/fpga/estimate.py, and the errors of a new fit and of those that stand there, also
for linear models and networks, and of the estimate that is made before there is a circuit.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from scipy.optimize import nnls
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tensorml
from benchmarks.circuits import CASES, breast_cancer, digits, fitted
from tensorml.executors.fpga.accuracy import FixedPoint
from tensorml.executors.fpga.area import size
from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.design import GATED, Signal, at_least_by_gates
from tensorml.executors.fpga.estimate import Counts, estimate
from tensorml.executors.fpga.program import Core, FpgaExecutor, core_of
from tensorml.executors.fpga.synthesis import synthesize

LEAF_BITS = (3, 4, 6)
WIDTHS = (2, 3, 4, 5, 20, 32)  # of values that are compared: up to 16 bits, by parts of up to five
MOST = 40  # compares of one value


def compares(width: int) -> tuple[Circuit, int]:
    """A circuit of compares of one value with constants that are spread evenly, and how many they are."""
    count = min(MOST, 2**width // 2)
    ranks = np.linspace(1, 2**width - 1, count).astype(int)
    value = Signal("in_row", 0, 2**width - 1, 0)
    gates = width <= GATED
    held = ", ".join(at_least_by_gates(value, int(r)) if gates else f"in_row >= {width}'d{r}" for r in ranks)
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


LINEAR = {
    "logistic regression, breast cancer": (lambda: LogisticRegression(), breast_cancer),
    "logistic regression, digits": (lambda: LogisticRegression(), digits),
    "network of 8, breast cancer": (lambda: MLPClassifier((8,), random_state=0), breast_cancer),
}


def linear(only: Sequence[str], bits: Sequence[int]) -> dict[str, Core]:
    """The circuits of linear models and networks."""
    found = {}
    for name, (make, load) in LINEAR.items():
        if only and not any(part in name for part in only):
            continue
        x, y = load()
        model = make_pipeline(StandardScaler(), make()).fit(x, y)
        for most in bits:
            converted = tensorml.convert(model, x, executor=FpgaExecutor(fixed=FixedPoint(bits=most)))
            found[f"{name}, {most} bits"] = core_of(converted.program("predict"))
    return found


def ensembles(only: Sequence[str], bits: Sequence[int]) -> dict[str, Core]:
    """The circuits of the models of benchmarks.circuits, with leaves of so many bits."""
    found = {}
    for case in CASES:
        if only and not any(part in case.name for part in only):
            continue
        model, _ = fitted(case)
        graph = tensorml.convert(model, executor="reference").graph.select("predict")
        for most in bits:
            program = FpgaExecutor(fixed=FixedPoint(bits=most)).compile(graph)
            found[f"{case.name}, {most} bits"] = core_of(program)
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


def fit(cores: Mapping[str, Core], family: str, console: Console) -> None:
    """Print what fits a family best, by relative error, and the errors."""
    each = {}
    for width in WIDTHS:
        circuit, count = compares(width)
        each[width] = synthesize(circuit, family).luts / count
    console.print(f"{family}: a compare by bits { ({w: round(c, 2) for w, c in each.items()}) }")
    circuits = [core.circuit for core in cores.values()]
    luts = np.array([synthesize(circuit, family).luts for circuit in circuits], float)
    known = np.array([compare_cost(circuit.counts, each) for circuit in circuits])
    parts = np.array([[bits_of(c.counts, "choice"), bits_of(c.counts, "counter")] for c in circuits], float)
    if parts.any():
        costs, _ = nnls(parts / luts[:, None], np.maximum(luts - known, 0) / luts)
        console.print(f"{family}: choice {costs[0]:.3f}, counter {costs[1]:.3f} for each bit")
        console.print(f"{family}: errors of these {([f'{e:+.0%}' for e in (parts @ costs + known) / luts - 1])}")


def compare(cores: Mapping[str, Core], family: str, console: Console) -> None:
    """Print the errors of the costs as they stand: with the circuit, and before there is one."""
    errors = []
    for name, core in cores.items():
        luts = synthesize(core.circuit, family).luts
        errors.append(
            [found.luts / luts - 1 for found in (estimate(core.circuit.counts, family), size(core.split, family))]
        )
        console.print(f"  {family}, {name}: {luts:,} LUTs, errors {errors[-1][0]:+.1%} and {errors[-1][1]:+.1%}")
    console.print(f"{family}: roots of the mean squares {np.sqrt(np.mean(np.square(errors), axis=0)).round(3)}")


def main(argv: Sequence[str] | None = None) -> None:
    """Fit all families."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimates", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="cases whose names contain one of these")
    parser.add_argument("--bits", nargs="+", type=int, default=list(LEAF_BITS), metavar="N", help="of leaves")
    parser.add_argument("--families", nargs="+", default=["ecp5", "xc7", "xcup"], metavar="NAME")
    options, console = parser.parse_args(argv), Console(width=160, highlight=False)
    trees, others = ensembles(options.only, options.bits), linear(options.only, options.bits)
    for family in options.families:
        fit(trees, family, console)
        compare(trees | others, family, console)


if __name__ == "__main__":
    main()
