from __future__ import annotations

import pytest

from tensorml.executors.base import names


@pytest.fixture(params=names())
def executor(request: pytest.FixtureRequest) -> str:
    """The name of each executor in turn."""
    return request.param
