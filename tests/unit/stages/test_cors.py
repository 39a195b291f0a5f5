from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from deployer.core.errors import ExitCode
from deployer.core.events import Warned
from deployer.core.ports import Object, PodAnswer
from deployer.plan import CorsPlan
from deployer.stages.urls import origin_of, prove_cors
from tests.fakes import FakeKube
from tests.fakes.play import failed, items, played

LOCAL, WEB = "http://localhost:3000", "http://192.0.2.1:30000"
SETTING = "releases.shop.values.origins"


def plan(port: int | str | None = None, urls: tuple[str, ...] = ("web",), setting: str = SETTING) -> CorsPlan:
    return CorsPlan("api", "default", "api", port, "/health", (LOCAL,), urls, setting)


def endpoint_slice(ready: bool = True) -> Object:
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": "api-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "api"}},
        "ports": [{"name": "metrics", "port": 9000}, {"name": "http", "port": 8000}],
        "endpoints": [{"targetRef": {"kind": "Pod", "name": "api-0"}, "conditions": {"ready": ready}}],
    }


def service() -> Object:
    ports = [{"name": "metrics", "port": 9000}, {"name": "http", "port": 80, "targetPort": 8000}]
    return {"kind": "Service", "metadata": {"name": "api", "namespace": "default"}, "spec": {"ports": ports}}


def allowing(*origins: str, preflight: bool = True) -> Callable[[str, str, Mapping[str, str]], PodAnswer]:
    """A server that allows these origins; without a preflight of its own it knows GET alone."""

    def answer(method: str, path: str, headers: Mapping[str, str]) -> PodAnswer:
        assert path == "/health"
        if method == "OPTIONS" and not preflight:
            return PodAnswer(405, {"allow": "GET"})
        origin = headers["Origin"]
        answered = {"access-control-allow-origin": origin} if origin in origins else {}
        return PodAnswer(200 if answered or method == "GET" else 400, answered)

    return answer


def behind(server: Callable[[str, str, Mapping[str, str]], PodAnswer]) -> FakeKube:
    kube = FakeKube()
    kube.put(endpoint_slice())
    kube.put(service())
    kube.pod_servers["default", "api-0", 8000] = server
    return kube


@pytest.mark.parametrize("port", ["http", 80])
@pytest.mark.parametrize("preflight", [True, False])
def test_documented_and_served_origins_that_are_allowed_are_proven(port: int | str, preflight: bool) -> None:
    kube = behind(allowing(LOCAL, WEB, preflight=preflight))
    events, _ = played(prove_cors([plan(port)], {"web": f"{WEB}/"}, kube, kube.clock))
    assert [text for _, _, text in items(events)] == [f"allows {LOCAL}, {WEB}"]


def test_a_wildcard_allows_every_origin() -> None:
    kube = behind(lambda *_: PodAnswer(200, {"access-control-allow-origin": "*"}))
    played(prove_cors([plan("http")], {"web": WEB}, kube, kube.clock))


@pytest.mark.parametrize("preflight", [True, False])
def test_a_served_origin_that_is_refused_is_named_with_the_answer_and_the_setting(preflight: bool) -> None:
    kube = behind(allowing(LOCAL, preflight=preflight))
    _, error = failed(prove_cors([plan("http")], {"web": f"{WEB}/"}, kube, kube.clock))
    (problem,) = error.problems
    assert (problem.code, error.exit_code) == ("CORS_REFUSED", ExitCode.NOTHING_SERVES)
    assert WEB in problem.title
    assert problem.detail == (
        f"OPTIONS /health with Origin {WEB}: HTTP 400, Access-Control-Allow-Origin: none"
        if preflight
        else f"GET /health with Origin {WEB}: HTTP 200, Access-Control-Allow-Origin: none"
    )
    assert problem.hints == (f"add {WEB} to {SETTING} in the spec, then: todo-deploy up",)


def test_an_origin_for_which_another_one_is_allowed_is_refused() -> None:
    kube = behind(lambda *_: PodAnswer(200, {"access-control-allow-origin": "http://elsewhere:1"}))
    _, error = failed(prove_cors([plan("http", (), "")], {}, kube, kube.clock))
    assert "Access-Control-Allow-Origin: http://elsewhere:1" in error.problems[0].detail


def test_all_refused_origins_are_reported_together() -> None:
    kube = behind(allowing())
    _, error = failed(prove_cors([plan("http")], {"web": WEB}, kube, kube.clock))
    assert [one.code for one in error.problems] == ["CORS_REFUSED"] * 2


def test_a_service_without_a_ready_pod_is_waited_for_and_then_reported_without_failing() -> None:
    kube = behind(allowing(LOCAL))
    kube.put(endpoint_slice(ready=False))
    events, _ = played(prove_cors([plan()], {}, kube, kube.clock))
    (warned,) = [one for one in events if isinstance(one, Warned)]
    assert (warned.problem.code, kube.clock.elapsed > 9) == ("CORS_UNPROVEN", True)
    assert "no ready pod" in warned.problem.detail


def test_a_port_that_the_service_does_not_have_is_reported() -> None:
    kube = behind(allowing(LOCAL))
    events, _ = played(prove_cors([plan(81)], {}, kube, kube.clock))
    assert [one.problem.code for one in events if isinstance(one, Warned)] == ["CORS_UNPROVEN"]


def test_what_cannot_be_asked_is_reported_without_failing() -> None:
    kube = behind(allowing(LOCAL))
    events, _ = played(prove_cors([plan()], {}, kube, kube.clock))  # its first port is not HTTP's
    (warned,) = [one for one in events if isinstance(one, Warned)]
    assert "nothing listens on port 9000" in warned.problem.detail


def test_an_origin_has_no_path_and_is_in_lower_case() -> None:
    assert origin_of("http://Todo.Local:30000/login?next=/") == "http://todo.local:30000"
