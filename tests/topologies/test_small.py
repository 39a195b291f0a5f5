"""The documented figures are those of the spec itself: its profile `small` lowers requests and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.topologies.rendering import Topology, render


@pytest.mark.parametrize("name", ["000-todo-chatbot", "001-phase-iv", "002-k8s-deployment", "003-k8s-deployment-2"])
def test_the_small_profile_lowers_requests_and_nothing_else(helm: str, tmp_path: Path, name: str) -> None:
    documented, small = (render(name, helm, tmp_path, profile) for profile in (None, "small"))
    before, after = _requests(documented), _requests(small)
    assert before.keys() == after.keys()
    for workload, requests in after.items():
        assert int(requests["cpu"].removesuffix("m")) < int(before[workload]["cpu"].removesuffix("m"))
        assert int(requests["memory"].removesuffix("Mi")) <= int(before[workload]["memory"].removesuffix("Mi"))
    assert _without_requests(small) == _without_requests(documented)
    assert small.loaded.spec.cluster.cpus == 2


def _requests(topology: Topology) -> dict[str, dict[str, str]]:
    return {name: topology.container(name)["resources"]["requests"] for name in topology.kinds("Deployment")}


def _without_requests(topology: Topology) -> dict[tuple[str, str], Any]:
    """The objects without requests, and without checksums, which are salted anew for each plan."""
    objects = copy.deepcopy(dict(topology.objects))
    for (kind, _), body in objects.items():
        if kind == "Deployment":
            template = body["spec"]["template"]
            template["metadata"].pop("annotations", None)
            for container in template["spec"]["containers"]:
                del container["resources"]["requests"]
                for variable in container.get("env", ()):
                    variable.pop("valueFrom", None)
    return objects
