from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.core.events import UrlProven
from deployer.core.ports import Object
from deployer.core.redact import KNOWN
from deployer.plan import UrlPlan
from deployer.stages import urls
from deployer.stages.urls import INGRESS, Answer, ask, prove_urls, resolve, service_origin
from tests.fakes import FakeClock, FakeKube
from tests.fakes.play import code, failed, items, played

SELF_SIGNED = Path(__file__).parents[2] / "data" / "tls" / "self-signed.pem"


class Site(ThreadingHTTPServer):
    """Answers each path with the next of its (status, location); the last one stays. All have the same body."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, str]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.body = b""
        self.headers: dict[str, str] = {}
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        site = self.server
        assert isinstance(site, Site)
        site.asked.append((self.path, self.headers.get("Host", "")))
        planned = site.answers.get(self.path, [(404, "")])
        status, location = planned.pop(0) if len(planned) > 1 else planned[0]
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        for name, value in site.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(site.body)))
        self.end_headers()
        self.wfile.write(site.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed on standard error."""


def served(server: Site) -> Iterator[Site]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    yield from served(Site())


@pytest.fixture
def secure_site() -> Iterator[Site]:
    """A site whose certificate nobody knows, for a name that nobody asks for."""
    server = Site()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SELF_SIGNED)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield from served(server)


def url(name: str = "web", *, service: str | None = "web", host: str | None = None, port: int | str | None = None,
        path: str = "/", expect: int = 200) -> UrlPlan:  # fmt: skip
    return UrlPlan(name, "default", service, host, port, path, expect, True)


def service(node_port: int | None, kind: str = "NodePort", **status: object) -> Object:
    ports = [{"name": "http", "port": 80, **({"nodePort": node_port} if node_port else {})}]
    metadata = {"name": "web", "namespace": "default"}
    return {"kind": "Service", "metadata": metadata, "spec": {"type": kind, "ports": ports}, "status": status}


def exposed(site: Site) -> FakeKube:
    kube = FakeKube()
    kube.put(service(site.port))
    return kube


def test_urls_are_asked_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    kube.put(service(30080))
    together = threading.Barrier(3, timeout=10)

    def slow(address: str, host: str | None, expect: int) -> Answer:
        together.wait()
        return Answer(expect, {}, "")

    monkeypatch.setattr("deployer.stages.urls.ask", slow)
    _, outcome = played(prove_urls([url(name) for name in ("a", "b", "c")], "192.0.2.1", kube, FakeClock()))
    assert [one.name for one in outcome.value] == ["a", "b", "c"]


def test_a_url_that_answers_is_proven_by_one_request(site: Site) -> None:
    site.answers["/health"] = [(200, "")]
    kube = exposed(site)
    events, outcome = played(prove_urls([url(path="/health")], "127.0.0.1", kube, kube.clock))
    address = f"http://127.0.0.1:{site.port}/health"
    assert events == [UrlProven("web", address, 200)]
    assert (outcome.changed, outcome.value[0].url) == (False, address)
    assert len(site.asked) == 1


def test_a_wrong_status_gets_time_to_become_right(site: Site) -> None:
    site.answers["/"] = [(503, ""), (503, ""), (200, "")]
    kube = exposed(site)
    events, _ = played(prove_urls([url()], "127.0.0.1", kube, kube.clock))
    assert [text.rpartition(": ")[2] for _, _, text in items(events)] == ["HTTP 503, expected 200"]
    assert len(site.asked) == 3


def test_a_status_that_stays_wrong_is_a_failure(site: Site) -> None:
    site.answers["/"] = [(500, "")]
    kube = exposed(site)
    _, error = failed(prove_urls([url()], "127.0.0.1", kube, kube.clock))
    assert (code(error), error.exit_code) == ("URL_FAILED", ExitCode.NOTHING_SERVES)
    assert error.problems[0].detail == "HTTP 500, expected 200"
    assert kube.clock.elapsed > 20


@pytest.mark.parametrize(
    "asked",
    [
        {"contains": "Welcome"},
        {"matches": "^<p>Wel[a-z]+"},
        {"headers": {"content-type": "TEXT/html"}},
        {"headers": {"X-Version": ""}},
        {"contains": "come", "matches": "html", "headers": {"Content-Type": "text/html; charset=utf-8"}},
    ],
)
def test_a_body_and_headers_as_expected_are_proven(site: Site, asked: Mapping[str, object]) -> None:
    site.answers["/"] = [(200, "")]
    site.body, site.headers = (
        b"<html>\n<p>Welcome</p>\n",
        {"Content-Type": "text/html; charset=utf-8", "X-Version": "7"},
    )
    kube = exposed(site)
    _, outcome = played(prove_urls([replace(url(), **asked)], "127.0.0.1", kube, kube.clock))
    assert outcome.value[0].status == 200


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"contains": "Welcome"}, "Welcome"),
        ({"matches": "^broken"}, "^broken"),
        ({"headers": {"Content-Type": "application/json"}}, "text/html"),
        ({"headers": {"X-Version": ""}}, "X-Version"),
    ],
)
def test_a_good_status_with_another_body_or_header_is_a_failure_that_shows_both(
    site: Site, asked: Mapping[str, object], named: str
) -> None:
    site.answers["/"] = [(200, "")]
    site.body = b"<h1>Error</h1>\ndatabase is broken\n" + b"trace\n" * 20
    site.headers = {"Content-Type": "text/html"}
    kube = exposed(site)
    _, error = failed(prove_urls([replace(url(), **asked)], "127.0.0.1", kube, kube.clock))
    first, *shown = error.problems[0].detail.splitlines()
    assert (code(error), error.exit_code) == ("URL_FAILED", ExitCode.NOTHING_SERVES)
    assert named in first
    assert [line.strip("| ") for line in shown[:2]] == ["<h1>Error</h1>", "database is broken"]
    assert len(shown) < 15


def test_what_a_failed_url_answered_is_shown_without_secret_values(site: Site) -> None:
    KNOWN.learn(["hunter2-hunter2"])
    site.answers["/"] = [(500, "")]
    site.body, site.headers = b"cannot connect: password hunter2-hunter2", {"X-Debug": "hunter2-hunter2"}
    kube = exposed(site)
    _, error = failed(prove_urls([replace(url(), headers={"X-Debug": "on"})], "127.0.0.1", kube, kube.clock))
    assert "cannot connect" in error.problems[0].detail
    assert "hunter2" not in error.problems[0].detail


@pytest.mark.parametrize("where", ["/", "/from"])
def test_a_certificate_that_nobody_signed_is_accepted(site: Site, secure_site: Site, where: str) -> None:
    secure_site.answers["/"] = [(200, "")]
    site.answers["/from"] = [(308, f"https://127.0.0.1:{secure_site.port}/")]
    kube = exposed(secure_site if where == "/" else site)
    wanted = replace(url(path=where), scheme="https" if where == "/" else None)
    _, outcome = played(prove_urls([wanted], "127.0.0.1", kube, kube.clock))
    assert outcome.value[0].status == 200
    assert secure_site.asked[0][0] == "/"


def test_an_ingress_that_redirects_to_https_is_asked_there_by_its_name(site: Site, secure_site: Site) -> None:
    secure_site.answers["/"] = [(200, "")]
    site.answers["/"] = [(308, f"https://todo.local:{secure_site.port}/")]
    assert ask(f"http://127.0.0.1:{site.port}/", "todo.local").status == 200
    assert secure_site.asked == [("/", "todo.local")]


def test_where_a_redirect_led_to_nothing_is_named(site: Site) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"https://127.0.0.1:{probe.getsockname()[1]}/"
    site.answers["/"] = [(302, closed)]
    with pytest.raises(OSError, match=closed):
        ask(f"http://127.0.0.1:{site.port}/")


@pytest.mark.parametrize(
    ("port", "scheme"),
    [({"port": 443}, "https"), ({"name": "https"}, "https"), ({"name": "https-web"}, "https"),
     ({"name": "web", "appProtocol": "https"}, "https"), ({"name": "http", "port": 8443}, "http"), ({}, "http")],
)  # fmt: skip
def test_a_port_for_https_is_asked_so(port: Mapping[str, object], scheme: str) -> None:
    one = service(30001)
    one["spec"]["ports"][0] |= port
    assert service_origin(one, None, "n") == f"{scheme}://n:30001"
    assert service_origin(one, None, "n", scheme="https") == "https://n:30001"


def test_a_stream_without_an_end_is_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer, suppress(OSError):
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
                peer.recv(1)  # until the other side has enough

        thread = threading.Thread(target=answer)
        thread.start()
        found = ask(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.5)
        thread.join()
    assert (found.status, found.body) == (200, "data: 1\n\n")


def test_a_connection_that_nobody_accepts_is_given_up_long_before_an_answer() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # a full backlog drops what comes, as a node does for a pod that is gone
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            ask(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=30.0)
        assert time.monotonic() - begun < 10


def test_another_status_may_be_the_expected_one(site: Site) -> None:
    site.answers["/"] = [(401, "")]
    kube = exposed(site)
    _, outcome = played(prove_urls([url(expect=401)], "127.0.0.1", kube, kube.clock))
    assert outcome.value[0].status == 401


def test_redirects_are_followed_to_where_a_browser_would_end(site: Site) -> None:
    site.answers |= {"/": [(307, "/login?next=%2F")], "/login?next=%2F": [(200, "")]}
    assert ask(f"http://127.0.0.1:{site.port}/").status == 200


def test_a_redirect_to_another_host_is_the_answer(site: Site) -> None:
    site.answers["/"] = [(302, "http://elsewhere.invalid/")]
    assert ask(f"http://127.0.0.1:{site.port}/").status == 302


def test_a_redirect_to_the_ingress_host_is_asked_at_the_node(site: Site) -> None:
    site.answers |= {"/": [(307, "http://todo.local/login")], "/login": [(200, "")]}
    assert ask(f"http://127.0.0.1:{site.port}/", "todo.local").status == 200
    assert site.asked == [("/", "todo.local"), ("/login", "todo.local")]


def test_redirects_in_a_circle_end(site: Site) -> None:
    site.answers["/"] = [(302, "/")]
    assert ask(f"http://127.0.0.1:{site.port}/").status == 302
    assert len(site.asked) < 10


def test_an_expected_redirect_is_proven(site: Site) -> None:
    site.answers |= {"/": [(302, "/login")], "/login": [(200, "")]}
    kube = exposed(site)
    _, outcome = played(prove_urls([url(expect=302)], "127.0.0.1", kube, kube.clock))
    assert outcome.value[0].status == 302


def test_refused_connections_are_reported_and_waited_on() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    kube = FakeKube()
    kube.put(service(closed))
    events, error = failed(prove_urls([url()], "127.0.0.1", kube, kube.clock))
    assert code(error) == "URL_FAILED"
    assert "refused" in error.problems[0].detail
    assert len(items(events)) == 1


def test_something_that_does_not_speak_http_is_no_bug_of_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer, suppress(OSError):
                peer.recv(1000)
                peer.sendall(b"what?\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(OSError, match="BadStatusLine"):
            ask(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()


@pytest.mark.parametrize(("listed", "count"), [("192.0.2.1 other.local", 1), ("192.0.2.1 a todo.local # ours", 0)])
def test_an_ingress_is_shown_by_its_name_and_a_browser_is_helped_to_it(
    site: Site, tmp_path: Path, listed: str, count: int
) -> None:
    site.answers["/"] = [(200, "")]
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n# 192.0.2.1 todo.local\n{listed}\n")
    kube = FakeKube()
    local = {INGRESS: site.port}
    wanted = [url(service=None, host="todo.local")]
    events, outcome = played(prove_urls(wanted, "192.0.2.1", kube, kube.clock, local, hosts))
    shown = f"http://todo.local:{site.port}/"
    assert (outcome.value[0].url, events[0]) == (shown, UrlProven("web", shown, 200))
    assert site.asked == [("/", f"todo.local:{site.port}")]
    ways = [text for _, _, text in items(events)]
    assert len(ways) == count
    assert all("echo '127.0.0.1 todo.local' | sudo tee -a /etc/hosts" in way for way in ways)
    assert all(f"curl -H 'Host: todo.local:{site.port}' http://127.0.0.1:{site.port}/" in way for way in ways)


def test_an_ingress_is_asked_at_the_node_by_its_host_name(site: Site) -> None:
    site.answers["/"] = [(200, "")]
    assert resolve(url(service=None, host="todo.local"), "192.0.2.1", FakeKube()) == ("http://192.0.2.1/", "todo.local")
    assert ask(f"http://127.0.0.1:{site.port}/", "todo.local").status == 200
    assert site.asked == [("/", "todo.local")]


INGRESS_OF_TODO: dict[str, Any] = {
    "kind": "Ingress", "metadata": {"name": "web", "namespace": "default"}, "spec": {"rules": [{"host": "todo.local"}]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ([{"ip": "198.51.100.7"}], "198.51.100.7"),
        ([{"hostname": "lb.example.com"}], "lb.example.com"),
        ([{"hostname": "localhost"}], "192.0.2.1"),
        ([{"ip": "127.0.0.1"}], "192.0.2.1"),
        ([{"ip": "10.96.0.7"}], "192.0.2.1"),
        ([], "192.0.2.1"),
    ],
)
def test_an_ingress_is_asked_where_its_controller_says(given: list[dict[str, str]], address: str) -> None:
    kube = FakeKube()
    kube.put({**INGRESS_OF_TODO, "status": {"loadBalancer": {"ingress": given}}})
    controller = {"kind": "Service", "metadata": {"name": "controller", "namespace": "ingress"}}
    kube.put({**controller, "spec": {"type": "NodePort", "clusterIP": "10.96.0.7"}})
    other = {"metadata": {"name": "other", "namespace": "default"}, "spec": {"rules": [{"host": "other.local"}]}}
    kube.put({**INGRESS_OF_TODO, **other, "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}]}}})
    assert resolve(url(service=None, host="todo.local"), "192.0.2.1", kube) == (f"http://{address}/", "todo.local")


def test_an_ingress_that_gets_its_address_meanwhile_is_asked_there(tmp_path: Path) -> None:
    kube, given = FakeKube(), {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}}
    kube.put(INGRESS_OF_TODO)
    kube.clock.at(2, lambda: kube.put({**INGRESS_OF_TODO, "status": given}))
    asked: list[str] = []

    def ask_there(address: str, *rest: Any, **more: Any) -> Answer:
        asked.append(address)
        if address != "http://198.51.100.7/":
            raise ConnectionRefusedError
        return Answer(200, {}, "")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(urls, "ask", ask_there)
        _, outcome = played(prove_urls([url(service=None, host="todo.local")], "192.0.2.1", kube, kube.clock))
    assert (asked[0], outcome.value[0].address) == ("http://192.0.2.1/", "http://198.51.100.7/")


def test_a_service_that_is_not_there_is_named() -> None:
    _, error = failed(prove_urls([url()], "127.0.0.1", FakeKube(), FakeClock()))
    assert code(error) == "URL_NO_SERVICE"


def test_a_service_without_an_address_outside_is_named_with_its_type() -> None:
    kube = FakeKube()
    kube.put(service(None, "ClusterIP"))
    _, error = failed(prove_urls([url()], "127.0.0.1", kube, kube.clock))
    assert code(error) == "URL_NOT_EXPOSED"
    assert "ClusterIP" in error.problems[0].title


@pytest.mark.parametrize(
    ("port", "origin"), [(None, "http://n:30001"), ("http", "http://n:30001"), (80, "http://n:30001"), (81, None)]
)
def test_ports_are_chosen_by_name_or_number(port: int | str | None, origin: str | None) -> None:
    assert service_origin(service(30001), port, "n") == origin


def test_a_load_balancer_is_asked_at_its_address_and_else_at_the_node() -> None:
    balanced = service(30001, "LoadBalancer", loadBalancer={"ingress": [{"ip": "192.0.2.7"}]})
    assert service_origin(balanced, None, "n") == "http://192.0.2.7:80"
    assert service_origin(service(30001, "LoadBalancer", loadBalancer={}), None, "n") == "http://n:30001"


def test_an_external_url_counts_at_the_load_balancers_address_only() -> None:
    balanced = service(30001, "LoadBalancer", loadBalancer={"ingress": [{"hostname": "lb.example"}]})
    assert service_origin(balanced, None, "n", external=True) == "http://lb.example:80"
    for pending in (service(30001, "LoadBalancer"), service(30001)):
        assert service_origin(pending, None, "n", external=True) is None


def test_an_external_url_waits_for_its_address(site: Site) -> None:
    site.answers["/"] = [(200, "")]
    kube = FakeKube()
    waiting = service(30001, "LoadBalancer")
    given = service(30001, "LoadBalancer", loadBalancer={"ingress": [{"ip": "127.0.0.1"}]})
    for one in (waiting, given):
        one["spec"]["ports"][0]["port"] = site.port
    kube.put(waiting)
    kube.clock.at(2.0, lambda: kube.put(given))
    wanted = replace(url(), external=True)
    events, outcome = played(prove_urls([wanted], "n", kube, kube.clock))
    assert [one.url for one in outcome.value] == [f"http://127.0.0.1:{site.port}/"]
    assert "Service web has no external address yet" in [text for _, _, text in items(events)]


def test_a_load_balancer_that_never_gives_an_address_is_named() -> None:
    kube = FakeKube()
    kube.put(service(30001, "LoadBalancer"))
    _, error = failed(prove_urls([replace(url(), external=True)], "127.0.0.1", kube, kube.clock))
    assert code(error) == "URL_NO_BALANCER"
    assert "metallb" in error.problems[0].hints[0]


FORWARDED = {("default", "web", ""): 31000, ("default", "web", "http"): 31001, ("", "", ""): 31002}


@pytest.mark.parametrize(
    ("kind", "status", "port", "address"),
    [
        ("NodePort", {}, None, "http://127.0.0.1:31000/"),
        ("NodePort", {}, "http", "http://127.0.0.1:31001/"),
        ("NodePort", {}, 80, "http://n:30001/"),  # no port mapping leads to what is named so
        ("LoadBalancer", {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}, None, "http://127.0.0.1:31000/"),
    ],
)
def test_what_this_machine_serves_itself_is_asked_here(
    kind: str, status: dict[str, object], port: int | str | None, address: str
) -> None:
    kube = FakeKube()
    kube.put(service(30001, kind, **status))
    assert resolve(url(port=port), "n", kube, FORWARDED) == (address, None)


def test_a_forward_exposes_nothing_that_the_cluster_does_not() -> None:
    kube = FakeKube()
    kube.put(service(None, "ClusterIP"))
    with pytest.raises(DeployError) as caught:
        resolve(url(), "n", kube, FORWARDED)
    assert code(caught.value) == "URL_NOT_EXPOSED"


def test_a_forwarded_ingress_is_asked_by_its_name_and_the_local_port() -> None:
    found = resolve(url(service=None, host="todo.local"), "n", FakeKube(), FORWARDED)
    assert found == ("http://127.0.0.1:31002/", "todo.local:31002")
