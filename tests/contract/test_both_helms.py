"""Helm 3 and 4 on the same releases: what the dry run foresees is what each does, and each goes on from the other."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from deployer import composition
from deployer.config.spec import Cluster
from deployer.core.errors import DeployError
from deployer.core.ports import INPUTS_LABEL, HelmPort, UpgradeRequest
from deployer.helm import dry_run, storage
from deployer.toolchain import locate_toolchain
from tests.cluster import PROFILE
from tests.contract.conftest import Connected
from tests.helm3 import VERSION, helm3

pytestmark = pytest.mark.cluster

CHART = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {value: {{ .Values.value | quote }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  paused: true
  {{- with .Values.unknown }}
  misspelt: {{ . }}
  {{- end }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      containers:
        - name: main
          image: nowhere.local/none:1
          env:
            - {name: A, value: "1"}
            {{- if .Values.twice }}
            - {name: A, value: "2"}
            {{- end }}
"""


@dataclass(frozen=True)
class Both:
    """Both helms on the test cluster, and a chart and a namespace for them."""

    on: Connected
    helms: dict[int, HelmPort]
    kubectl: Path
    kubeconfig: Path
    chart: Path
    namespace: str

    def request(self, release: str, **values: object) -> UpgradeRequest:
        given = {"value": "one", "replicas": 0, **values}
        return UpgradeRequest(release, self.namespace, self.chart, given, {INPUTS_LABEL: "any"}, "by a test", 60)

    def upgrade(self, helm: int, release: str, **values: object) -> None:
        self.helms[helm].upgrade(self.request(release, **values))

    def foreseen(self, helm: int, wanted: UpgradeRequest) -> list[dry_run.Verdict]:
        """What the API server says to the objects that would not simply be taken."""
        port, kube = self.helms[helm], self.on.kube
        release = dry_run.current_release(wanted.release, self.namespace, kube, port, asked=wanted.server_side)
        return [one for one in dry_run.ask(release, port.template(wanted), kube) if one.standing != "accepted"]

    def outcome(self, helm: int, wanted: UpgradeRequest) -> str:
        """The code of what Helm itself says, or `done`."""
        try:
            self.helms[helm].upgrade(wanted)
        except DeployError as error:
            return error.problems[0].code
        return "done"

    def rollback(self, helm: int, release: str, revision: int) -> None:
        """As the stage does it."""
        port, kube = self.helms[helm], self.on.kube
        target = storage.stored_revision(release, self.namespace, revision, kube)
        forced = dry_run.current_release(release, self.namespace, kube, port, target=target).server_side
        port.rollback(release, self.namespace, revision, 60, force_conflicts=forced)

    def by_hand(self, *words: str, editor: str = "") -> None:
        argv = [self.kubectl, "--kubeconfig", self.kubeconfig, "--context", PROFILE, "-n", self.namespace, *words]
        env = {**composition.this_machine().env, "KUBE_EDITOR": editor}
        subprocess.run(list(map(str, argv)), check=True, capture_output=True, timeout=60, env=env)

    def state(self, release: str) -> tuple[str, int, list[tuple[str, bool]]]:
        """The value and the replicas that are there, and status of each revision and whether it was applied."""
        found = self.on.kube.get("ConfigMap", self.namespace, release)
        workload = self.on.kube.get("Deployment", self.namespace, release)
        assert found is not None and workload is not None
        made = [
            (one.status, storage.applied_on_server(storage.stored_revision(release, self.namespace, one.revision,
                                                                           self.on.kube)))
            for one in storage.revisions_of(release, self.namespace, self.on.kube)
        ]  # fmt: skip
        return found["data"]["value"], workload["spec"]["replicas"], made


@pytest.fixture(scope="module")
def both(connected: Connected, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    here, wanted, namespace = composition.this_machine(), Cluster(name=PROFILE), f"helms-{secrets.token_hex(4)}"
    own = locate_toolchain("auto", here.cache_dir)
    assert own is not None
    if own.versions["helm"].startswith("v3."):
        pytest.skip("Helm 4 is not there: this run is one with Helm 3 (`make helm3`)")
    other = replace(own, helm=helm3(), versions={**own.versions, "helm": VERSION})
    tools = {4: own, 3: other}
    helms = {number: composition.open_helm(here, wanted, one, connected.facts) for number, one in tools.items()}
    chart = tmp_path_factory.mktemp("helms") / "probe"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: probe\nversion: 0.1.0\n")
    (chart / "templates" / "all.yaml").write_text(CHART)
    connected.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    yield Both(connected, helms, own.kubectl, here.kubeconfig, chart, namespace)
    connected.kube.delete("Namespace", "", namespace)


def test_each_goes_on_from_the_other_and_back(both: Both) -> None:
    both.upgrade(3, "old")
    both.upgrade(4, "old", value="two", replicas=1)
    both.upgrade(3, "old", value="three")
    both.rollback(4, "old", 1)
    assert both.state("old") == (
        "one", 0, [("superseded", False), ("superseded", False), ("superseded", False), ("deployed", False)]
    )  # fmt: skip
    both.upgrade(4, "new")
    assert both.state("new") == ("one", 0, [("deployed", True)])
    both.upgrade(3, "new", value="two", replicas=1)
    # Helm 3 writes the revisions that it supersedes anew, without what it does not know: from then on Helm 4 patches.
    both.rollback(4, "new", 1)
    both.upgrade(4, "new", value="four")
    assert both.state("new")[:2] == ("four", 0)
    assert [applied for _, applied in both.state("new")[2]] == [False] * 4
    both.rollback(3, "new", 2)
    assert both.state("new")[:2] == ("two", 1)
    assert both.helms[3].uninstall("new", both.namespace) and both.helms[4].uninstall("old", both.namespace)


@pytest.mark.parametrize("helm", [3, 4])
def test_what_others_have_set_is_a_conflict_for_helm_4_alone_and_foreseen(both: Both, helm: int) -> None:
    release = f"edited-{helm}"
    both.upgrade(helm, release)
    both.by_hand("edit", "configmap", release, editor="sed -i s/one/by-hand/")
    both.by_hand("scale", "deployment", release, "--replicas=3")
    wanted = both.request(release, value="two", replicas=1)
    if helm == 4:
        fields = {one.ref.kind: one.answer.causes for one in both.foreseen(4, wanted) if one.standing == "conflict"}
        (edited,), (scaled,) = fields["ConfigMap"], fields["Deployment"]
        assert edited[0] == ".data.value" and '"kubectl-edit"' in edited[1]
        assert scaled[0] == ".spec.replicas" and '"kubectl" with subresource "scale"' in scaled[1]
        assert both.outcome(4, wanted) == "FIELD_CONFLICT"
        # What has come to be the same is nobody's conflict, nor is anything where Helm is to patch.
        assert both.foreseen(4, both.request(release, value="by-hand", replicas=3)) == []
        assert both.foreseen(4, replace(wanted, server_side=False)) == []
        wanted = replace(wanted, force_conflicts=True)
    else:
        assert both.foreseen(3, wanted) == []
    assert both.outcome(helm, wanted) == "done"
    assert both.state(release)[:2] == ("two", 1)


def test_a_rollback_of_helm_4_overrides_what_others_have_set(both: Both) -> None:
    both.upgrade(4, "back")
    both.upgrade(4, "back", value="two")
    both.by_hand("scale", "deployment", "back", "--replicas=3")
    both.rollback(4, "back", 1)
    assert both.state("back") == ("one", 0, [("superseded", True), ("superseded", True), ("deployed", True)])


@pytest.mark.parametrize(
    ("helm", "values"), [(3, {"twice": True, "unknown": 1}), (4, {"twice": True}), (4, {"unknown": 1})]
)
def test_what_only_an_apply_refuses_is_foreseen(both: Both, helm: int, values: dict[str, object]) -> None:
    wanted = both.request(f"{'-'.join(values)}-{helm}", **values)
    if "twice" in values:
        both.upgrade(helm, wanted.release)
    assert [one.standing for one in both.foreseen(helm, wanted)] == (["invalid"] if helm == 4 else [])
    assert both.outcome(helm, wanted) == ("OBJECT_INVALID" if helm == 4 else "done")
    if helm == 4:
        patched = replace(wanted, server_side=False)
        assert (both.foreseen(4, patched), both.outcome(4, patched)) == ([], "done")


def test_a_release_of_helm_3_may_be_applied_on_the_server_from_now_on(both: Both) -> None:
    both.upgrade(3, "moved")
    wanted = replace(both.request("moved", value="two"), server_side=True)
    assert (both.foreseen(4, wanted), both.outcome(4, wanted)) == ([], "done")
    assert both.state("moved") == ("two", 0, [("superseded", False), ("deployed", True)])


@pytest.mark.parametrize(("helm", "server_side"), [(3, None), (4, True), (4, False)])
@pytest.mark.parametrize("values", [{}, {"unknown": "1"}, {"twice": True}, {"replicas": "many"}])
def test_helm_finds_the_same_without_the_schemas_of_the_api_server(
    both: Both, helm: int, server_side: bool | None, values: dict[str, object]
) -> None:
    found = []
    for accepted in (False, True):
        wanted = both.request(f"schemas-{secrets.token_hex(4)}", **values)
        found.append(both.outcome(helm, replace(wanted, server_side=server_side, accepted=accepted)))
    assert found[0] == found[1]
