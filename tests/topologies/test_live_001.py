"""001-phase-iv on the real cluster: the base path, the cluster as an entity, states as listed, the way back."""

from __future__ import annotations

import json
from pathlib import Path

from bench.topologies.journey import left_behind
from deployer.status import Phase, PodPhase, ServicePhase, service_phase
from tests.cluster import PROFILE
from tests.e2e.browser import Browser, request
from tests.seed_words import SEED_WORDS
from tests.topologies.live import Live, Watch, differences, eventually, first_task, open_kube, pod_phases

NAME = "001-phase-iv"
COMPONENTS = ("frontend", "backend")


def endpoints(live: Live, service: str) -> ServicePhase:
    kube = open_kube()
    found = kube.get("Service", live.namespace, service)
    assert found is not None
    return service_phase(found, kube.list("EndpointSlice", live.namespace))


def test_the_frontend_is_served_below_its_base_path(live: Live) -> None:
    assert request("GET", f"{live.url}/todo/login").status == 200
    assert request("GET", f"{live.url}/login").status == 404
    moved = request("GET", f"{live.url}/todo")
    assert (moved.status, moved.headers["Location"]) == (307, "/todo/login")
    page = request("GET", f"{live.url}/todo/login").body.decode()
    assert '"/todo/_next/static/' in page
    ann = first_task(f"{live.url}/todo")
    assert "ann@example.com" in ann_page(ann)


def ann_page(browser: Browser) -> str:
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    return request("GET", browser.origin, headers={"Cookie": cookies}).body.decode()


def test_live_objects_are_as_documented(live: Live, own_helm: str, tmp_path: Path) -> None:
    assert not (found := differences(live, own_helm, tmp_path)), "\n".join(found)
    secrets = json.loads(live.kubectl("get", "secrets", "-o", "json"))["items"]
    ours = [one for one in secrets if one["metadata"]["name"].startswith("phase-iv-secrets-")]
    assert [set(one["data"]) for one in ours] == [{"DATABASE_URL", "COHERE_API_KEY", "BETTER_AUTH_SECRET"}]


def test_the_cluster_is_an_entity_with_a_status(live: Live) -> None:
    done, document = live.app.run_json("status")
    assert done.returncode == 0
    cluster = document["data"]["cluster"]
    assert (cluster["provider"], cluster["profile"]) == ("minikube", PROFILE)
    assert cluster["phase"] == SEED_WORDS["001", "Cluster", "Running"].value
    assert cluster["kubernetesVersion"].startswith("v1.")


def test_origins_of_the_setting_are_allowed_and_no_other(live: Live) -> None:
    def allowed(origin: str) -> bool:
        pod = live.pods("backend")[0]["metadata"]["name"]
        program = (
            "import sys, urllib.request as r;"
            "q = r.Request('http://127.0.0.1:8000/health', headers={'Origin': sys.argv[1]});"
            "print(r.urlopen(q).headers.get('access-control-allow-origin'))"
        )
        return live.kubectl("exec", pod, "--", "python", "-c", program, origin).strip() == origin

    assert allowed("http://localhost:3000")
    assert allowed(live.url)
    assert not allowed("http://evil.example")


def test_deployment_states_as_listed(live: Live) -> None:
    """Active → Updating → Active, Active → Paused, on the frontend itself."""
    words = {word: SEED_WORDS["001", "Deployment", word] for word in ("Active", "Updating", "Paused")}
    seen = []
    with Watch(live.namespace, ["frontend"]) as watch:

        def reach(word: str) -> None:
            eventually(lambda: watch.phase("frontend") is words[word], word)
            seen.append(word)

        reach("Active")
        live.app.data("restart", "frontend")
        reach("Active")
        assert words["Updating"] in watch.seen["frontend"]
        live.kubectl("rollout", "pause", "deployment/frontend")
        reach("Paused")
        live.kubectl("rollout", "resume", "deployment/frontend")
        reach("Active")
    assert watch.seen["frontend"][0] is Phase.AVAILABLE


def test_a_failed_rollout_is_failed_and_what_ran_goes_on(live: Live) -> None:
    broken = "releases.phase-iv.values.backend.config.data.LOG_LEVEL=loud"
    done, document = live.app.run_json("up", "--set", broken)
    assert done.returncode == 5, done.stderr[-2000:]
    assert document["errors"]
    assert request("GET", f"{live.url}/todo/api/health").status == 200


def test_pod_and_service_states_as_listed(live: Live) -> None:
    """Pending → Running → Terminating → Deleted; Available → Unavailable → Available, by the Service's endpoints."""
    (pod,) = live.pods("frontend")
    name = pod["metadata"]["name"]
    assert endpoints(live, "frontend") is ServicePhase.AVAILABLE
    with pod_phases(live.namespace, [name]) as seen:
        live.kubectl("delete", "pod", name, "--wait=false")
        eventually(lambda: endpoints(live, "frontend") is ServicePhase.UNAVAILABLE, "Unavailable")
        eventually(lambda: open_kube().get("Pod", live.namespace, name) is None, "Deleted")
    assert seen[name] == [PodPhase.READY, PodPhase.TERMINATING] or seen[name] == [PodPhase.TERMINATING]
    eventually(lambda: endpoints(live, "frontend") is ServicePhase.AVAILABLE, "Available")


def test_an_upgrade_and_the_way_back(live: Live) -> None:
    before = live.tags(live.first)
    with live.project.edited("app/frontend-web/lib/log.ts", lambda text: text + "\n// another content\n"):
        _, changed = live.app.data("up")
    assert live.tags(changed)["frontend"] != before["frontend"]
    live.app.data("rollback")
    assert live.pods("frontend")[-1]["spec"]["containers"][0]["image"].endswith(before["frontend"])
    assert request("GET", f"{live.url}/todo/login").status == 200


def test_nothing_is_left_behind(live: Live) -> None:
    live.app.data("down", "--volumes", "--yes")
    assert left_behind(live.app, live.before) == set()
