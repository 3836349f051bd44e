"""What pip and other tools read about the project."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points, requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import tensorml
from tensorml.executors.base import Executor, executor_class

ROOT = Path(__file__).parent.parent
EXTRAS = {"xgboost", "lightgbm", "catboost", "onnx", "simd", "fpga", "all", "test", "bench", "docs"}
CONSTRAINTS = {"constraints.txt": "test", "constraints-bench.txt": "bench", "constraints-oldest.txt": "test"}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(*extras: str) -> list[Requirement]:
    """What pyproject asks for, with these extras; the package itself, for further extras, among it."""
    chosen = [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    return [Requirement(line) for line in [*PROJECT["dependencies"], *chosen]]


def pins(name: str) -> dict[str, str]:
    """The versions in a constraints file, by package, those of the files it includes too."""
    found: dict[str, str] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("-c "):
            found |= pins(line.removeprefix("-c "))
        elif line and not line.startswith("#"):
            package, operator, number = line.partition("==")
            assert operator, f"{name}: {line!r} is no exact version"
            assert package not in found, f"{name}: {package} is there twice"
            found[package] = number
    return found


def test_the_version_is_the_package_s() -> None:
    assert version("tensorml") == tensorml.__version__ == PROJECT["version"]


@pytest.mark.parametrize("group", ["tensorml.converters", "tensorml.executors"])
def test_entry_points_are_those_of_pyproject(group: str) -> None:
    installed = {point.name: point.value for point in entry_points(group=group)}
    assert installed.items() >= PROJECT["entry-points"][group].items()


@pytest.mark.parametrize("name", PROJECT["entry-points"]["tensorml.converters"])
def test_a_converter_module_has_what_is_asked_of_it(name: str) -> None:
    pytest.importorskip(name)
    (point,) = entry_points(group="tensorml.converters", name=name)
    assert callable(point.load().describe)


@pytest.mark.parametrize("name", PROJECT["entry-points"]["tensorml.executors"])
def test_an_executor_loads_under_its_name(name: str) -> None:
    cls = executor_class(name)
    assert issubclass(cls, Executor)
    assert cls.name == name


def test_the_command_is_callable() -> None:
    (point,) = entry_points(group="console_scripts", name="tensorml")
    assert callable(point.load())


def test_extras_are_those_of_the_documentation() -> None:
    assert set(PROJECT["optional-dependencies"]) == EXTRAS
    installed = [Requirement(line) for line in requires("tensorml") or []]
    for extra in EXTRAS - {"docs"}:
        assert any(r.marker and r.marker.evaluate({"extra": extra, "python_version": "3.11"}) for r in installed), extra


def test_extras_name_only_extras_that_exist() -> None:
    own = [requirement for requirement in requirements(*EXTRAS) if requirement.name == "tensorml"]
    assert own
    for requirement in own:
        assert requirement.extras <= EXTRAS


def test_all_has_every_extra_that_is_for_users() -> None:
    (every,) = (Requirement(line) for line in PROJECT["optional-dependencies"]["all"])
    assert every.extras == EXTRAS - {"all", "test", "bench", "docs"}


@pytest.mark.parametrize(("name", "extra"), CONSTRAINTS.items())
def test_pinned_versions_are_in_the_ranges_of_pyproject(name: str, extra: str) -> None:
    pinned = pins(name)
    wanted = [r for r in requirements("xgboost", extra) if r.name != "tensorml"]
    assert {r.name for r in wanted} <= set(pinned)
    for requirement in wanted:
        assert requirement.specifier.contains(pinned[requirement.name]), requirement


@pytest.mark.parametrize("package", ["scikit-learn", "xgboost", "narwhals", "polars", "safetensors"])
def test_the_oldest_versions_are_the_lower_bounds(package: str) -> None:
    """Else a bound is a promise that nobody tests."""
    oldest = pins("constraints-oldest.txt")[package]
    bounds = [r.specifier for r in requirements("test", "xgboost") if r.name == package]
    assert bounds
    for bound in bounds:
        (lower,) = (s.version for s in bound if s.operator == ">=")
        assert oldest == lower or oldest.startswith(f"{lower}."), (package, lower, oldest)


def test_torch_is_pinned_to_the_same_version_everywhere() -> None:
    assert len({pins(name)["torch"] for name in CONSTRAINTS}) == 1


def test_the_package_is_typed_and_licensed() -> None:
    assert (Path(tensorml.__file__).parent / "py.typed").exists()
    assert PROJECT["license"] == "Apache-2.0"
    for name in PROJECT["license-files"]:
        assert "Apache License" in (ROOT / name).read_text(encoding="utf-8")
