"""The first deployment: the one command, what it prints, what runs after it, and the documents' tables beside it."""

from __future__ import annotations

import base64
import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.charts.test_todo_app import COMPONENTS, CONFIG, DEPLOYMENTS, SECRET_KEYS, SERVICES
from tests.cluster import PROFILE, CompletedCli, run_cli
from tests.e2e.browser import Browser, request, served_files
from tests.e2e.project import CURRENT_CONTEXT, RELEASE, Object, ProcessList, Project, one_document, tell

STAGES = ["toolchain", "cluster", "images", "secrets", "releases", "rollout", "urls", "stability"]
ALL = [*COMPONENTS, "database"]
WORKLOADS = {("Deployment", name): 2 for name in COMPONENTS} | {("StatefulSet", "database"): 1}


def test_the_document_of_the_first_up(first_up: CompletedCli, project: Project) -> None:
    assert first_up.returncode == 0, first_up.stderr[-6000:]
    document = one_document(first_up.stdout)
    assert (document["command"], document["ok"], document["exitCode"], document["errors"]) == ("up", True, 0, [])
    data = document["data"]
    tell("first up, from nothing deployed", f"{data['seconds']} s")
    for one in data["stages"]:
        tell(f"  stage {one['name']}", f"{one['seconds']:.2f} s")
    assert set(data) == {"changed", "seconds", "stages", "images", "releases", "workloads", "urls"}
    assert data["changed"] is True
    assert isinstance(data["seconds"], float)
    assert sorted(one["name"] for one in data["stages"]) == sorted(STAGES)
    for one in data["stages"]:
        assert set(one) == {"name", "seconds", "changed"}
        assert isinstance(one["seconds"], float)
        assert isinstance(one["changed"], bool)
    assert [one["name"] for one in data["images"]] == ALL
    for one in data["images"]:
        assert set(one) == {"name", "ref", "built", "reason"}
        repository, _, tag = one["ref"].partition(":")
        assert repository == f"todo-{one['name']}"
        assert tag.startswith("1.0.0-")
        assert isinstance(one["built"], bool)
        assert one["reason"]
    assert data["releases"] == [{"name": RELEASE, "namespace": "default", "revision": 1, "changed": True}]
    for one in data["workloads"]:
        desired = WORKLOADS[one["kind"], one["name"]]
        assert one == {
            "kind": one["kind"], "name": one["name"], "namespace": "default", "phase": "Available",
            "ready": desired, "desired": desired, "restarts": 0,
        }  # fmt: skip
    assert {(one["kind"], one["name"]) for one in data["workloads"]} == set(WORKLOADS)
    assert [(one["name"], one["status"]) for one in data["urls"]] == [
        ("web", 200), ("chatbot", 200), ("web-api", 200), ("chatbot-api", 200),
    ]  # fmt: skip
    assert all(set(one) == {"name", "url", "address", "status"} for one in data["urls"])


def test_events_are_reported_on_standard_error(first_up: CompletedCli) -> None:
    lines = first_up.stderr.splitlines()
    for stage in STAGES:
        assert any(line.split()[:2] == [stage, "started"] for line in lines), stage
    assert any("http://" in line and "answered 200" in line for line in lines)


def test_the_env_file_is_made_and_announced(first_up: CompletedCli, app: Project) -> None:
    assert stat.S_IMODE(app.env_file.stat().st_mode) == 0o600
    assert len(app.env_value("BETTER_AUTH_SECRET")) == 43
    assert len(app.env_value("POSTGRES_PASSWORD")) == 32
    announced = next(line for line in first_up.stderr.splitlines() if ".env" in line)
    for word in ("made .env from .env.example", "BETTER_AUTH_SECRET", "POSTGRES_PASSWORD", "0600"):
        assert word in announced
    for key in ("BETTER_AUTH_SECRET", "POSTGRES_PASSWORD"):
        assert app.env_value(key) not in first_up.stderr + first_up.stdout


def test_the_urls_answer(app: Project, urls: dict[str, str]) -> None:
    assert urls["web"].endswith(":30000")
    assert urls["chatbot"].endswith(":30001")
    for frontend in ("web", "chatbot"):
        page = request("GET", urls[frontend] + "/")
        while page.status in (302, 303, 307, 308):
            page = request("GET", urls[frontend] + page.headers["Location"])
        assert page.status == 200
        assert b"<html" in page.body.lower()
        assert request("GET", urls[frontend] + "/api/health").json() == {"status": "ok"}


def test_minikube_service_shows_the_same_addresses(app: Project, urls: dict[str, str]) -> None:
    """As the document reaches them: `minikube service NAME --url`."""
    for name, frontend in (("frontend-web-service", "web"), ("frontend-chatbot-service", "chatbot")):
        assert app.minikube("service", name, "--namespace", "default", "--url").split() == [urls[frontend]]


def test_a_task_of_one_frontend_is_seen_in_the_other(
    app: Project, urls: dict[str, str], ann: Browser, password: tuple[str, str]
) -> None:
    assert ann.tasks() == {"water the plants": False}
    again = Browser(urls["web"])
    again.ask("GET", "/session", expect=401)
    again.ask("POST", "/session/login", {"email": password[0], "password": "not the password"}, expect=401)
    again.login(*password)
    assert again.ask("GET", "/session")["user"]["email"] == password[0]
    chat = Browser(urls["chatbot"])
    chat.login(*password)
    listed = chat.chat("show my tasks")
    assert "water the plants" in listed["reply"]
    assert [task["title"] for task in listed["tasks"]] == ["water the plants"]
    done = chat.chat("complete water the plants")
    assert done["engine"] == "grammar"
    assert again.tasks() == ann.tasks() == {"water the plants": True}
    stranger = Browser(urls["web"])
    stranger.register("ben@example.com", "another password")
    assert stranger.tasks() == {}


def test_the_second_up_finds_everything_in_place(app: Project) -> None:
    pods, revision = app.pods(), app.revision()
    assert len(pods) == 7
    with ProcessList() as processes:
        data = app.up()
    assert data["changed"] is False
    assert [one["name"] for one in data["stages"]] == STAGES
    assert not [one for one in data["stages"] if one["changed"]]
    assert not [one for one in data["images"] if one["built"]]
    assert {one["reason"] for one in data["images"]} == {"unchanged"}
    assert data["releases"] == [{"name": RELEASE, "namespace": "default", "revision": revision, "changed": False}]
    assert app.pods() == pods, "a pod is another one, or was started again"
    assert app.revision() == revision
    minikube = str(app.toolchain.minikube)
    mine = [words for words in processes.seen if words.startswith(minikube) and PROFILE in words]
    assert mine == [], "no Minikube process is needed to see that nothing is to be done"
    assert processes.looks > 20
    quiet = app.up()["seconds"]
    tell("second up, nothing changed", f"{quiet} s by its own clock")
    for words, name in ((["up", "-o", "json"], "up"), (["status", "-o", "json"], "status")):
        begun = time.monotonic()
        assert app.run(*words).returncode == 0
        tell(f"{name}, nothing changed, as a process", f"{time.monotonic() - begun:.2f} s")
    best = min(run_cli("--help", env=app.environment).seconds for _ in range(5))
    tell("--help, best of 5", f"{best * 1000:.0f} ms")


def test_plain_up_prints_the_urls(app: Project, urls: dict[str, str]) -> None:
    done = app.run("up")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"web\t{urls['web']}/\nchatbot\t{urls['chatbot']}/\n"


def test_the_status_document(app: Project, urls: dict[str, str]) -> None:
    data = app.json("status")["data"]
    cluster = data["cluster"]
    assert (
        cluster.items() >= {"provider": "minikube", "profile": PROFILE, "context": PROFILE, "phase": "Running"}.items()
    )
    assert cluster["kubernetesVersion"].startswith("v1.")
    assert {(one["kind"], one["name"]): one["ready"] for one in data["workloads"]} == WORKLOADS
    assert {one["phase"] for one in data["workloads"]} == {"Available"}
    assert {one["url"].rstrip("/") for one in data["urls"]} >= {urls["web"], urls["chatbot"]}
    assert data["releases"][0].items() >= {"name": RELEASE, "status": "deployed", "verdict": "verified"}.items()


@pytest.fixture
def live(app: Project) -> dict[tuple[str, str], Object]:
    """Every live object of the documented kinds, as plain kubectl prints it."""
    found = app.objects("secret,configmap,deploy,sts,svc,pvc")
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


# What the API server adds to a probe that does not say it.
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def _as_served(probe: dict[str, Any]) -> dict[str, Any]:
    return {**_PROBE, **probe, "httpGet": {"scheme": "HTTP", **probe["httpGet"]}}


def test_live_objects_have_the_documented_names(live: dict[tuple[str, str], Object]) -> None:
    names = {kind: {name for known, name in live if known == kind} for kind, _ in live}
    assert names["Deployment"] == set(COMPONENTS)
    assert names["StatefulSet"] == {"database"}
    assert names["Service"] == {"kubernetes", *(f"{name}-service" for name in ALL)}
    assert names["ConfigMap"] == {"kube-root-ca.crt", *(f"{name}-config" for name in COMPONENTS)}
    assert names["PersistentVolumeClaim"] == {"data-database-0"}
    assert live["PersistentVolumeClaim", "data-database-0"]["status"]["phase"] == "Bound"
    assert {"app-secrets", "database-credentials"} <= names["Secret"]


@pytest.mark.parametrize("name", COMPONENTS)
def test_live_deployment(live: dict[tuple[str, str], Object], name: str, first_up: CompletedCli) -> None:
    tier, port, uid, size, liveness, readiness = DEPLOYMENTS[name]
    deployment = live["Deployment", name]
    spec, pod = deployment["spec"], deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    refs = {one["name"]: one["ref"] for one in one_document(first_up.stdout)["data"]["images"]}
    assert deployment["metadata"]["labels"].items() >= {"app": name, "tier": tier, "phase": "iv"}.items()
    assert spec["replicas"] == deployment["status"]["readyReplicas"] == 2
    assert spec["selector"] == {"matchLabels": {"app": name}}
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert pod["metadata"]["labels"] == {"app": name, "tier": tier}
    assert pod["spec"]["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": uid}.items()
    assert container["name"] == name
    assert container["image"] == refs[name]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["ports"] == [{"containerPort": port, "protocol": "TCP"}]
    assert container["resources"] == size
    assert container["livenessProbe"] == _as_served(liveness)
    assert container["readinessProbe"] == _as_served(readiness)
    assert container["envFrom"] == [{"configMapRef": {"name": f"{name}-config"}}]
    assert {variable["name"]: variable["valueFrom"] for variable in container["env"]} == {
        variable: {"secretKeyRef": {"name": "app-secrets", "key": key}} for variable, key in SECRET_KEYS[name].items()
    }
    assert pod["spec"]["terminationGracePeriodSeconds"] == 30


@pytest.mark.parametrize("name", COMPONENTS)
def test_live_service(live: dict[tuple[str, str], Object], name: str) -> None:
    kind, ports = SERVICES[name]
    service = live["Service", f"{name}-service"]
    assert service["metadata"]["labels"].items() >= {"app": name, "tier": DEPLOYMENTS[name][0]}.items()
    assert service["spec"]["type"] == kind
    assert service["spec"]["selector"] == {"app": name}
    assert service["spec"]["ports"] == [{"name": "http", "protocol": "TCP", **ports}]


@pytest.mark.parametrize("name", COMPONENTS)
def test_live_configmap(live: dict[tuple[str, str], Object], name: str, urls: dict[str, str]) -> None:
    config = live["ConfigMap", f"{name}-config"]
    assert config["metadata"]["labels"]["app"] == name
    documented, data = CONFIG[name], dict(config["data"])
    if name == "backend":
        # Besides the documented origin, those at which the tool really serves the frontends may stand here.
        origins = data.pop("ALLOWED_ORIGINS").split(",")
        assert origins[0] == documented["ALLOWED_ORIGINS"]
        assert set(origins[1:]) <= {urls["web"], urls["chatbot"]}
        documented = {key: value for key, value in documented.items() if key != "ALLOWED_ORIGINS"}
    assert data == documented


def test_live_secret(live: dict[tuple[str, str], Object], app: Project) -> None:
    secret = live["Secret", "app-secrets"]
    assert secret["type"] == "Opaque"
    assert secret["metadata"]["labels"]["app"] == "todo-app"
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert set(data) == {"DATABASE_URL", "BETTER_AUTH_SECRET", "OPENAI_API_KEY"}
    assert data["DATABASE_URL"] == f"postgresql://todo:{app.env_value('POSTGRES_PASSWORD')}@database-service:5432/todo"
    assert data["BETTER_AUTH_SECRET"] == app.env_value("BETTER_AUTH_SECRET")
    assert data["OPENAI_API_KEY"] == ""


def test_images_are_small_labelled_and_of_no_root(app: Project, first_up: CompletedCli) -> None:
    for one in one_document(first_up.stdout)["data"]["images"]:
        (image,) = json.loads(app.in_node("docker", "image", "inspect", one["ref"]))
        tell(f"image {one['name']}", f"{image['Size'] / 1e6:.0f} MB")
        assert image["Size"] < 500e6
        assert int(image["Config"]["User"]) >= 1000
        labels = image["Config"]["Labels"]
        for label in ("title", "description", "licenses", "version"):
            assert labels[f"org.opencontainers.image.{label}"], label
        assert labels["org.opencontainers.image.title"] == f"todo-{one['name']}"


def test_no_container_runs_as_root_or_may_write_or_has_a_capability(app: Project) -> None:
    ask = "id -u; grep ^Cap /proc/1/status; (echo x > /written) 2>&1; (echo x > /tmp/written) && echo tmp is writable"

    def inside(pod: str) -> str:
        return app.kubectl("exec", "--namespace", "default", pod, "--", "sh", "-c", ask)

    with ThreadPoolExecutor(4) as pool:
        printed = dict(zip(app.pods(), pool.map(inside, app.pods()), strict=True))
    assert len(printed) == 7
    for pod, text in printed.items():
        lines = text.splitlines()
        assert int(lines[0]) >= 1000, pod
        capabilities = dict(line.split() for line in lines if line.startswith("Cap"))
        assert {int(value, 16) for value in capabilities.values()} == {0}, (pod, capabilities)
        assert "Read-only file system" in text, (pod, text)
        assert "tmp is writable" in text


def test_browsers_are_never_given_a_key(app: Project, urls: dict[str, str]) -> None:
    secrets = [app.env_value("BETTER_AUTH_SECRET"), app.env_value("POSTGRES_PASSWORD")]
    for frontend, start in (("chatbot", "/"), ("web", "/login")):
        files = served_files(urls[frontend], start)
        assert len(files) >= 2, files
        for path, content in files.items():
            for word in [*secrets, "OPENAI_API_KEY", "DATABASE_URL", "postgresql://"]:
                assert word.encode() not in content, f"{path} of {frontend} has {word}"


def test_another_folder_and_another_clone_are_the_same_deployment(app: Project, tmp_path: Any) -> None:
    pods = app.pods()
    assert app.up("-f", str(app.root / "todo-deploy.yaml"), cwd=tmp_path)["changed"] is False
    assert not list(tmp_path.iterdir()), "nothing is written where the command was typed"
    assert app.pods() == pods


def test_other_names_are_other_clusters(app: Project) -> None:
    for name in ("todo-deploy-one", "todo-deploy-two"):
        done = run_cli("status", "-o", "json", "--set", f"cluster.name={name}", cwd=app.root, env=app.environment)
        document = one_document(done.stdout)
        assert done.returncode == document["exitCode"] == 3
        assert document["data"]["cluster"].items() >= {"context": name, "profile": name, "phase": "Missing"}.items()
        assert document["errors"][0]["code"] == "CLUSTER_MISSING"
        assert "todo-deploy up" in document["errors"][0]["hints"]


def test_the_current_context_is_the_user_s(app: Project) -> None:
    assert app.current_context() == CURRENT_CONTEXT
    text = app.kubeconfig.read_text()
    cleared = text.replace(f'"current-context": "{CURRENT_CONTEXT}"', '"current-context": ""')
    assert cleared != text
    app.kubeconfig.write_text(cleared)
    try:
        assert app.up()["changed"] is False
        assert app.current_context() == ""
    finally:
        app.kubeconfig.write_text(text)
