"""The daemon that builds for a cluster, or why there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from deployer import composition
from deployer.commands.toolchain import builder
from deployer.core.errors import DeployError, ExitCode


def test_images_without_a_way_to_the_cluster_are_an_error_and_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "builder_of", lambda *_: None)
    run: Any = SimpleNamespace(machine=None, facts=None, way=SimpleNamespace(why="a node is stopped"))
    with pytest.raises(DeployError) as failed:
        builder(run)
    assert failed.value.exit_code is ExitCode.MACHINE
    assert [(one.code, one.detail) for one in failed.value.problems] == [("NO_DELIVERY", "a node is stopped")]
