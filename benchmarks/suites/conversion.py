"""The time of convert(), and of `import tensorml`."""

from __future__ import annotations

from benchmarks.models import CASES, MANY_LEAVES, load
from benchmarks.peers import contestants
from tensorml.convert import convert
from tensorml.errors import UnsupportedModelError

ALL = {**CASES, MANY_LEAVES.name: MANY_LEAVES}


class Conversion:
    """convert() of each case by each executor; the program is compiled on the first prediction."""

    params = (list(ALL), [name for name, contestant in contestants().items() if contestant.ours])
    param_names = ("case", "executor")
    rounds = 1
    repeat = (1, 5, 5.0)

    def setup(self, case: str, executor: str) -> None:
        self.model = load(ALL[case])
        self.x = ALL[case].features(1)
        try:
            convert(self.model, executor=executor)
        except UnsupportedModelError as error:
            raise NotImplementedError(str(error)) from error

    def time_convert(self, case: str, executor: str) -> None:
        convert(self.model, executor=executor)

    def time_convert_and_first_prediction(self, case: str, executor: str) -> None:
        getattr(convert(self.model, executor=executor), ALL[case].method)(self.x)


class Import:
    """`import tensorml` in a new interpreter."""

    def timeraw_import(self) -> str:
        return "import tensorml"
