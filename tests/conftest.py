from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tensorml.executors.base import names

# How fast the machine is decides about no test.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(params=[name for name in names() if name != "fpga"])
def executor(request: pytest.FixtureRequest) -> str:
    """The name of each executor in turn, but for `fpga`, which computes in fixed point: see executors/fpga."""
    return request.param


@pytest.fixture(scope="module", autouse=True)
def forgetful() -> Iterator[None]:
    """Let torch.jit forget, after each file, what it compiled: all of the suite is 9 GB. No model outlives its file."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and "torch.jit._recursive" in sys.modules:
        torch._C._jit_clear_class_registry()
        torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
        torch.jit._state._clear_class_state()
