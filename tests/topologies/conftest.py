"""Helm, for rendering; and a clone for the topologies that are deployed on the real cluster (`--topologies`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployer.composition import this_machine
from deployer.toolchain import locate_toolchain
from tests.charts.conftest import helm as helm
from tests.cluster import ensure_test_cluster
from tests.e2e.project import Project, make_project
from tests.topologies.live import Live, deploy, prepare
from tests.topologies.rendering import Topology, render


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What deploys topologies takes minutes each: it is left out unless it was asked for."""
    live = [item for item in items if item.path.name.startswith("test_live_")]
    for item in live:
        item.add_marker(pytest.mark.cluster)
    if not config.getoption("--topologies") and live:
        config.hook.pytest_deselected(items=live)
        items[:] = [item for item in items if item not in live]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of this repository beside a running cluster; all topologies share its `.env`."""
    ensure_test_cluster()
    return make_project(tmp_path_factory.mktemp("topologies"))


@pytest.fixture(scope="module")
def topology(request: pytest.FixtureRequest, helm: str, tmp_path_factory: pytest.TempPathFactory) -> Topology:
    """The module's topology (its NAME) as its charts render it."""
    return render(request.module.NAME, helm, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def live(request: pytest.FixtureRequest, clone: Project) -> Iterator[Live]:
    """The module's topology (its NAME, with its COMPONENTS) runs on the cluster."""
    made = prepare(clone, request.module.NAME, request.module.COMPONENTS)
    try:
        deploy(made)
        yield made
    finally:
        made.app.run("down", "--volumes", "--yes")


@pytest.fixture(scope="session")
def own_helm() -> str:
    """The helm that the tool deploys with."""
    toolchain = locate_toolchain("auto", this_machine().cache_dir)
    assert toolchain is not None
    return str(toolchain.helm)
