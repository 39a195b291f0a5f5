"""The addons on the real cluster: what each is for holds, seen from this machine."""

from __future__ import annotations

import http.client
import ipaddress
import time
from urllib.parse import urlsplit

from tests.addons.conftest import HOST, Lights


def get(address: str, path: str = "/", host: str | None = None) -> tuple[int, str]:
    """Status and body of a request, sent straight to the address."""
    parts = urlsplit(f"http://{address}")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_up_adds_them_waits_for_them_and_proves_the_urls(lights: Lights) -> None:
    assert lights.first.returncode == 0, lights.first.stderr[-6000:]
    for name in ("metallb", "metrics-server", "ingress"):
        assert name in lights.first.stderr


def test_a_load_balancer_has_an_address_of_the_nodes_network_that_answers_from_here(lights: Lights) -> None:
    service = lights.kube.get("Service", "lights", "lights-service")
    assert service is not None
    (given,) = service["status"]["loadBalancer"]["ingress"]
    address = ipaddress.ip_address(given["ip"])
    assert address in ipaddress.ip_network(f"{lights.node}/24", strict=False)
    assert str(address) != lights.node
    assert get(str(address)) == (200, "lights are on\n")


def test_an_ingress_answers_for_its_host_alone(lights: Lights) -> None:
    assert get(lights.node, host=HOST) == (200, "lights are on\n")
    assert get(lights.node, host="elsewhere.example")[0] == 404


def test_an_autoscaler_sees_metrics(lights: Lights) -> None:
    deadline = time.monotonic() + 120
    while True:
        scaler = lights.kube.get("HorizontalPodAutoscaler", "lights", "lights-hpa")
        assert scaler is not None
        conditions = {one["type"]: one for one in scaler["status"].get("conditions") or ()}
        if conditions.get("ScalingActive", {}).get("status") == "True":
            break
        assert time.monotonic() < deadline, conditions
        time.sleep(2)
    (metric,) = scaler["status"]["currentMetrics"]
    assert isinstance(metric["resource"]["current"]["averageUtilization"], int)


def test_a_second_up_changes_nothing(lights: Lights) -> None:
    before = {one["metadata"]["uid"] for one in lights.kube.list("Pod", "metallb-system")}
    data = lights.json("up", "--progress", "plain")
    assert data["changed"] is False
    assert {one["metadata"]["uid"] for one in lights.kube.list("Pod", "metallb-system")} == before


def test_status_and_doctor_show_how_they_stand(lights: Lights) -> None:
    shown = {one["name"]: (one["ready"], one["text"]) for one in lights.json("status")["addons"]}
    assert shown == {"metallb": (True, "v0.15.2"), "metrics-server": (True, "v0.9.0"), "ingress": (True, "v3.6.12")}
    checks = {one["name"]: one["state"] for one in lights.json("doctor")["checks"]}
    assert {checks[f"addon {name}"] for name in shown} == {"pass"}


def test_one_that_was_taken_away_is_reported_and_comes_back(lights: Lights) -> None:
    assert lights.kube.delete("Deployment", "ingress-nginx", "traefik")
    shown = {one["name"]: one["text"] for one in lights.json("status")["addons"]}
    assert shown["ingress"] == "Deployment traefik: not there"
    assert lights.json("up", "--progress", "plain")["changed"] is True
    assert get(lights.node, host=HOST)[0] == 200
