"""Every command that changes something waits for a run elsewhere, and nothing is changed while it waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.state.lock import DURATION_SECONDS, lease_name
from tests.unit.commands.test_destructive import VERBS, Scene, ran

HOLDER = "ann@elsewhere pid 7 run r7 on another-boot"


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("exec", "--recreate")])
def test_a_run_elsewhere_is_waited_for(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        scene = Scene(tmp_path, patch)
        kube = scene.shop.kube
        metadata = {
            "name": lease_name("shop"), "namespace": "default",
            "labels": {"app.kubernetes.io/managed-by": "todo-deploy", "todo-deploy.dev/lease": "shop"},
        }  # fmt: skip
        kube.put({"kind": "Lease", "metadata": metadata, "spec": {"holderIdentity": HOLDER}})
        before, begun = kube.state(), kube.clock.elapsed
        cluster = scene.shop.cluster.current
        seen = []
        kube.clock.at(begun + DURATION_SECONDS - 1, lambda: seen.append((kube.state(), scene.shop.cluster.current)))
        _, said = ran(VERBS[verb], capsys)
        assert HOLDER in said
        assert seen == [(before, cluster)]
        assert kube.clock.elapsed - begun >= DURATION_SECONDS
        assert kube.get("Lease", "default", lease_name("shop")) is None
