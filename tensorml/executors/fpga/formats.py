"""What the integers on a circuit's ports stand for: for people, for C and for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

from tensorml.executors.fpga.circuit import Circuit, Field


@dataclass(frozen=True)
class Codes:
    """What codes count: the ascending thresholds t with value >= t, value > t if `strict`. nan: the code of NaN."""

    thresholds: Sequence[float]
    strict: bool
    nan: int


@dataclass(frozen=True)
class Format:
    """What the integers of a field stand for: q for q * step + zero. meaning: in words, for people.

    codes: what they count, if they are codes.
    """

    step: float = 1.0
    zero: float = 0.0
    meaning: str = ""
    codes: Codes | None = None

    @property
    def fraction_bits(self) -> int | None:
        """Where the binary point is, if the step is a power of two; at least 0."""
        mantissa, exponent = math.frexp(self.step)
        return 1 - exponent if mantissa == 0.5 and self.zero == 0 and exponent <= 1 else None


Formats = tuple[Sequence[Format], Sequence[Format]]  # of the fields of a row, and of a result


def byte_count(bits: int) -> int:
    """The bytes that hold so many bits."""
    return -(-bits // 8)


def offsets(fields: Sequence[Field]) -> list[int]:
    """The bit where each field begins."""
    return list(accumulate((field.width for field in fields), initial=0))[:-1]


def header_fields(circuit: Circuit, formats: Formats) -> dict[str, str]:
    """The initialisers of the tables in the C header."""

    def lines(fields: Sequence[Field], formats: Sequence[Format]) -> str:
        return "\n".join(
            f"    {{{json.dumps(field.name)}, {offset}, {field.width}, {int(field.signed)}, {fraction(form)}, "
            f"{float(form.step)!r}, {float(form.zero)!r}}},"
            for field, form, offset in zip(fields, formats, offsets(fields), strict=True)
        )

    def fraction(form: Format) -> int:
        return -1 if form.fraction_bits is None else form.fraction_bits

    return {"input_fields": lines(circuit.inputs, formats[0]), "output_fields": lines(circuit.outputs, formats[1])}


def described(fields: Sequence[Field], formats: Sequence[Format]) -> list[dict[str, Any]]:
    """Fields and what they stand for, for programs."""
    return [
        {
            "name": field.name,
            "offset": offset,
            "width": field.width,
            "signed": field.signed,
            "step": float(form.step),
            "zero": float(form.zero),
            "meaning": form.meaning,
            **(asdict(form.codes) if form.codes else {}),
        }
        for field, form, offset in zip(fields, formats, offsets(fields), strict=True)
    ]
