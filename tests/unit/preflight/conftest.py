"""The application of the rules as a subject with a staged chart, and a cluster with one node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployer.preflight.rules.model import Subject
from tests.fakes import FakeClock, FakeKube
from tests.unit.preflight.rendering import NODE, VALUES
from tests.unit.preflight.rules.subjects import subject


@pytest.fixture
def made(tmp_path: Path) -> Subject:
    (tmp_path / "staged").mkdir()
    (tmp_path / "staged" / "Chart.yaml").write_text("version: 0.1.0\nappVersion: 1.0.0\nmaintainers: [{name: us}]\n")
    one = subject(folder=tmp_path)
    (release,) = one.plan.releases
    return replace(one, plan=replace(one.plan, releases=(replace(release, values=VALUES),)))


@pytest.fixture
def kube() -> FakeKube:
    kube = FakeKube(FakeClock())
    kube.put(NODE)
    return kube
