"""A helm for the session."""

import pytest

from infra.tools.helm import helm as binary
from tests.chart.chart import VALUES, Helm, Rendered


@pytest.fixture(scope="session")
def helm() -> Helm:
    """The chart through a real helm."""
    return Helm(binary())


@pytest.fixture(params=VALUES, ids=[path.stem for path in VALUES])
def rendered(request: pytest.FixtureRequest, helm: Helm) -> Rendered:
    """The chart with each values file."""
    return helm.render(values=request.param)
