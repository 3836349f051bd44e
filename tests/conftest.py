from __future__ import annotations

import pytest

from tensorml.executors.base import names


@pytest.fixture(params=[name for name in names() if name != "fpga"])
def executor(request: pytest.FixtureRequest) -> str:
    """The name of each executor in turn, but for `fpga`, which computes in fixed point: see executors/fpga."""
    return request.param
