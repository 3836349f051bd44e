from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tensorml

ROOT = Path(__file__).parents[1]
ML_LIBRARIES = {"sklearn", "xgboost", "lightgbm", "catboost"}
HEAVY = {"torch", "numba", "llvmlite", "narwhals", "pandas", "polars", "rich", "scipy", "joblib", *ML_LIBRARIES}
LISTING = "import sys, tensorml; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def imports(path: Path) -> Iterator[str]:
    """The root packages that a file imports anywhere, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).partition(".")[0]


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_importing_tensorml_loads_numpy_alone() -> None:
    listed = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, check=True)
    loaded = set(listed.stdout.split())
    assert "numpy" in loaded
    assert not loaded & HEAVY


CORE = [path for path in sources("tensorml") if not path.is_relative_to(ROOT / "tensorml" / "demo")]


@pytest.mark.parametrize("path", CORE, ids=names(CORE))
def test_the_core_imports_no_ml_library(path: Path) -> None:
    assert not set(imports(path)) & ML_LIBRARIES


def test_the_demonstration_is_the_one_exception() -> None:
    demo = [path for path in sources("tensorml/demo") if set(imports(path)) & ML_LIBRARIES]
    assert [path.name for path in demo] == ["models.py"]  # docs/decisions/0005-the-demonstration-trains.md


def test_the_core_never_imports_a_converter() -> None:
    for path in sources("tensorml"):
        assert not {name for name in imports(path) if name.startswith("tensorml_")}, path


def test_only_executors_import_torch_in_the_core() -> None:
    allowed = {ROOT / "tensorml" / "model.py", *sources("tensorml/executors")}
    assert {path for path in sources("tensorml") if "torch" in set(imports(path))} <= allowed


@pytest.mark.parametrize("path", sources("converters"), ids=names(sources("converters")))
def test_converters_import_no_torch(path: Path) -> None:
    assert "torch" not in set(imports(path))


def test_the_public_names_are_few_and_all_there() -> None:
    assert len(tensorml.__all__) <= 15
    assert all(hasattr(tensorml, name) for name in tensorml.__all__)


def test_a_function_and_its_module_of_one_name_do_not_get_in_each_others_way() -> None:
    from tensorml.check import Report as CheckReport
    from tensorml.verify import Report as VerifyReport

    assert CheckReport is not VerifyReport
    assert callable(tensorml.verify)
    assert callable(tensorml.check)
    assert callable(tensorml.convert)
