"""004-local-k8s-deployment with the addon that enforces its NetworkPolicies, on the real cluster.

The addon goes with these tests: clusters of other tests are those that Minikube makes by itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from deployer.cluster.addons.images import ADDON_LABEL
from deployer.cluster.addons.table import ADDONS
from tests.cluster import ensure_test_cluster
from tests.e2e.browser import request
from tests.e2e.project import make_project, one_document
from tests.topologies.test_004_cluster import Local, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.addons]

ADDON = "network-policies"
ASKED = ("--set", f"cluster.addons=[ingress, metrics-server, {ADDON}]")
DATABASE, BACKEND, DNS = ("database-service", 5432), ("backend-service", 80), ("kube-dns.kube-system", 53)
# Rules follow a pod or a policy within a second or two; a loaded machine takes its time.
_SOON = 30
_CONNECT = "import socket; socket.create_connection(({host!r}, {port}), 4).close(); print('open')"
_FROM_NODE = "fetch('http://backend-service/health').then(a => console.log(a.status))"
_KNOCK = (
    "const s = require('net').connect({port}, '{host}').setTimeout(4000);"
    "for (const what of ['connect', 'timeout', 'error']) s.on(what, () => {{ console.log(what); process.exit(0) }})"
)


@dataclass
class Guarded:
    """The topology under enforcement, and a pod in its namespace of which no policy speaks."""

    local: Local
    began: float

    def stranger_reaches(self, place: tuple[str, int]) -> bool:
        code = f"try:\n {_CONNECT.format(host=place[0], port=place[1])}\nexcept OSError as error: print(repr(error))"
        return self.local.kubectl("exec", "stranger", "--", "python", "-c", code).strip() == "open"

    def frontend_reaches(self, place: tuple[str, int]) -> bool:
        code = _KNOCK.format(host=place[0], port=place[1])
        return self.local.kubectl("exec", "deploy/frontend", "--", "node", "-e", code).strip() == "connect"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    ensure_test_cluster()
    local = Local(make_project(tmp_path_factory.mktemp("topology-004-policies")), ASKED)
    began = time.monotonic()
    local.run("up", "--progress", "plain", "--hold", "1s")
    local.node = local.run("status")["cluster"]["nodeAddress"]
    image = local.object("deployment", "backend")["spec"]["template"]["spec"]["containers"][0]["image"]
    serve = ("python", "-m", "http.server", "8080")
    local.kubectl("run", "stranger", f"--image={image}", "--port=8080", "--command", "--", *serve)
    local.kubectl("expose", "pod", "stranger", "--type=NodePort")
    local.kubectl("wait", "pod/stranger", "--for=condition=Ready", "--timeout=60s")
    yield Guarded(local, began)
    local.kubectl("delete", "pod,service", "stranger", "--now")
    local.run("down", "--volumes", "--yes")
    _take_away(local)


def test_the_tool_says_by_whom_they_are_enforced(guarded: Guarded) -> None:
    status = guarded.local.run("status")
    assert status["networkPolicies"] == {"enforced": True, "why": "by kube-router"}
    assert (ADDON, True, ADDONS[ADDON].version) in [
        (one["name"], one["ready"], one["text"]) for one in status["addons"]
    ]
    again = guarded.local.tried("up", "--progress", "plain", "--hold", "1s")
    assert again.returncode == 0
    assert one_document(again.stdout)["data"]["changed"] is False
    assert "NETWORK_POLICY_ENFORCED" not in again.stderr + again.stdout


def test_what_they_allow_goes_on_working(guarded: Guarded) -> None:
    local = guarded.local
    assert local.kubectl("exec", "deploy/frontend", "--", "node", "-e", _FROM_NODE).strip() == "200"
    page, api = local.ask("GET", "/"), local.ask("GET", "/api/health")
    assert (page.status in (200, 307), api.status) == (True, 200), "the Ingress reaches both"
    credentials = {"email": f"eve-{time.time_ns()}@example.com", "password": "correct horse battery"}
    assert local.ask("POST", "/api/auth/register", credentials).status == 201, "the backend reaches its database"
    assert guarded.stranger_reaches(DNS), "of this pod nothing is said"
    port = local.object("service", "stranger")["spec"]["ports"][0]["nodePort"]
    assert request("GET", f"http://{local.node}:{port}/").status == 200


def test_a_pod_that_they_forbid_is_refused(guarded: Guarded) -> None:
    assert not guarded.stranger_reaches(DATABASE)
    assert not guarded.stranger_reaches(BACKEND)
    assert not guarded.frontend_reaches(DATABASE)
    assert guarded.frontend_reaches(BACKEND)


def test_without_the_policy_it_is_not_refused(guarded: Guarded) -> None:
    guarded.local.kubectl("delete", "networkpolicy", "database")
    eventually(lambda: guarded.stranger_reaches(DATABASE), _SOON)
    assert not guarded.stranger_reaches(BACKEND), "that one's policy is still there"
    guarded.local.run("up", "--progress", "plain", "--hold", "1s")
    eventually(lambda: not guarded.stranger_reaches(DATABASE), _SOON)


def test_the_nodes_own_questions_are_answered_all_the_while(guarded: Guarded) -> None:
    time.sleep(max(0.0, guarded.began + 60 - time.monotonic()))
    for pod in json.loads(guarded.local.kubectl("get", "pods", "-o", "json"))["items"]:
        (state,) = pod["status"]["containerStatuses"]
        assert (state["ready"], state["restartCount"]) == (True, 0), pod["metadata"]["name"]


def test_when_the_addon_goes_its_rules_go_and_the_tool_says_so(guarded: Guarded) -> None:
    _take_away(guarded.local)
    jumps = [line for line in guarded.local.project.in_node("iptables", "-S").splitlines() if "-j KUBE-ROUTER-" in line]
    assert not jumps
    assert guarded.stranger_reaches(DATABASE)
    status = guarded.local.run("status")["networkPolicies"]
    assert (status["enforced"], "no network plugin is installed" in status["why"]) == (False, True)


def _take_away(local: Local) -> None:
    """The cluster is as it was before the addon, by the label of its objects."""
    of_it = (f"--selector={ADDON_LABEL}={ADDON}", "--ignore-not-found", "--wait", "--timeout=60s")
    local.project.kubectl("--namespace", "kube-system", "delete", "daemonset,configmap,serviceaccount", *of_it)
    local.project.kubectl("delete", "clusterrole,clusterrolebinding", *of_it)
    left = ("--namespace", "kube-system", "get", "pods", "--selector=app=kube-router", "--output=name")
    eventually(lambda: not local.project.kubectl(*left).strip(), 60)
