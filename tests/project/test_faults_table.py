"""The table of faults is sound without a cluster: its codes, patterns, waivers and overlays are real ones."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from bench.faults.bench import BASE, OVERLAY
from bench.faults.judging import code_of
from bench.faults.model import Ends, Fault
from bench.faults.table import FAULTS
from deployer.config.load import load_spec
from deployer.core.values import overlaid
from deployer.diagnosis.causes import CAUSES
from deployer.preflight.rules.judging import RULES
from tests import ROOT


def test_there_are_enough_of_them_and_no_two_alike() -> None:
    assert len({one.code for one in FAULTS}) >= 22
    assert len({one.name for one in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.name)
def test_a_fault_is_what_the_rest_of_the_project_knows(fault: Fault, tmp_path: Path) -> None:
    assert fault.code in CAUSES
    assert set(fault.also) <= set(CAUSES)
    assert set(fault.waived) <= {rule.name for rule in RULES}
    re.compile(fault.shown), re.compile(fault.says)
    shutil.copy(ROOT / "todo-deploy.yaml", tmp_path)
    (tmp_path / OVERLAY).write_text(json.dumps(overlaid(BASE, fault.overlay())))
    spec = load_spec(tmp_path / "todo-deploy.yaml").spec
    assert spec.namespace == BASE["namespace"]
    for name, edit in fault.files.items():
        path = ROOT / name
        before = path.read_text() if path.exists() else ""
        assert edit(before) != before


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.name)
def test_the_verdict_comes_when_the_table_of_causes_says(fault: Fault) -> None:
    policy = fault.policy
    bounded = policy.seconds is not None or policy.count is not None or policy.alike is not None
    ends = {
        Ends.NOW: policy.now,
        Ends.CONFIRMED: bounded and not policy.now,
        Ends.DEADLINE: not policy.now,
        Ends.GOES_ON: not policy.now and not bounded,
        Ends.HELD: True,  # one restart ends the hold, whatever its cause
    }
    assert ends[fault.ends], str(policy)


def test_a_note_is_known_by_the_title_of_its_cause() -> None:
    note = "deployment/backend: the startup probe of `backend` does not succeed (it started 3 s ago)"
    assert code_of(note) == "STARTUP_PROBE"
    assert code_of("statefulset/database waits for a volume: pod has unbound claims (volumes are being bound)") == (
        "UNSCHEDULABLE_VOLUME"
    )
    assert code_of("Available; holding 5 s") is None
