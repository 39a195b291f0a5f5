"""The urls stage: every URL of the plan was asked and answered as expected."""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Item, ItemState, UrlProven, Warned
from deployer.core.ports import KubePort, LocalPorts, PodAnswer
from deployer.core.reading import text_if_any
from deployer.core.redact import foreign
from deployer.core.steps import Clock, Outcome, Steps
from deployer.core.text import one_line
from deployer.kube.outage import retried
from deployer.kube.rights import listed
from deployer.plan import CorsPlan, UrlPlan
from deployer.status import Object
from deployer.status.objects import dig, rows

STAGE = "urls"
_ANSWER_SECONDS, _ONCE_SECONDS = 10.0, 3.0
_CONNECT_SECONDS = 1.0
"""What kube-proxy sent to a pod that is gone is never answered; only a new connection gets to another pod."""
_LIMIT_SECONDS = 30.0
# From a moment, for kube-proxy often learns of a ready pod just after the rollout, to a pause that loads nobody.
_FIRST_PAUSE_SECONDS = 0.04
_PAUSE_SECONDS = 0.3
_REDIRECTS = 5
_AT_ONCE = 8
_REDIRECT_CODES = (301, 302, 303, 307, 308)
_MOST_BODY = 2**20
_SHOWN_LINES, _SHOWN_LENGTH = 10, 200
_HERE = "127.0.0.1"
INGRESS = ("", "", "")
"""What leads to the ingress, among local ports."""
NOT_FORWARDED: LocalPorts = MappingProxyType({})
HOSTS = Path("/etc/hosts")
"""This machine's own list of host names."""


@dataclass(frozen=True, slots=True)
class ProvenUrl:
    """A URL that answered, as a browser would be given it, and the address at which it was asked."""

    name: str
    url: str
    status: int
    show: bool
    address: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP server answered: the status, its headers by lower-case name, and the body as far as it is looked at.

    `location` is where a redirect leads that was not followed.
    """

    status: int
    headers: Mapping[str, str]
    body: str
    location: str = ""


def prove_urls(
    urls: Sequence[UrlPlan],
    node_ip: str,
    kube: KubePort,
    clock: Clock,
    local: LocalPorts = NOT_FORWARDED,
    hosts: Path = HOSTS,
) -> Steps[Outcome[tuple[ProvenUrl, ...]]]:
    """Every URL answers as the spec expects; a failure names the first that does not, and shows what it answered.

    An Ingress is asked by its host's name, at the address that its controller gave it or at the node; a browser needs
    that name in `hosts`, and a hint says how.
    """
    proven, asked = [], []
    asking = ThreadPoolExecutor(_AT_ONCE)
    try:
        for url in urls:
            yield from _await_balancer(url, kube, clock)
            place = partial(resolve, url, node_ip, kube, local)
            address, host = place()
            asked.append((url, address, host, place, asking.submit(ask, address, host, expect=url.expect)))
    finally:
        asking.shutdown(wait=False)
    for url, address, host, place, first in asked:
        status, address = yield from _prove(url, (address, host, place), first.result, kube, clock)
        shown = shown_url(address, host)
        if url.show:
            yield UrlProven(url.name, shown, status)
        else:
            yield Item(STAGE, url.name, ItemState.DONE, f"{shown} answered {status}")
        if host is not None and url.show and not _is_listed(host, hosts):
            yield Item(STAGE, url.name, ItemState.DONE, _way_to(host, address))
        proven.append(ProvenUrl(url.name, shown, status, url.show, address))
    return Outcome(tuple(proven), False, f"{len(proven)} answer")


def all_answer(urls: Sequence[UrlPlan], node_ip: str, kube: KubePort, local: LocalPorts) -> bool:
    """Whether every URL answers at once as it is expected to. Raises DeployError and OSError for one that cannot."""
    places = [(url, *resolve(url, node_ip, kube, local)) for url in urls]
    answers = ((url, ask(address, host, _ONCE_SECONDS, url.expect)) for url, address, host in places)
    return not any(shortfall(url, answer) for url, answer in answers)


def resolve(url: UrlPlan, node_ip: str, kube: KubePort, local: LocalPorts = NOT_FORWARDED) -> tuple[str, str | None]:
    """The address to ask, and the Host header it needs; failure where nothing is exposed."""
    if url.ingress_host is not None:
        port, scheme = local.get(INGRESS), url.scheme or "http"
        if port is not None:
            return f"{scheme}://{_HERE}:{port}{url.path}", f"{url.ingress_host}:{port}"
        return f"{scheme}://{_ingress_address(url, kube) or node_ip}{url.path}", url.ingress_host
    assert url.service is not None
    service = kube.get("Service", url.namespace, url.service)
    if service is None:
        raise _failure("URL_NO_SERVICE", f"url `{url.name}`: no Service `{url.service}` in namespace `{url.namespace}`")
    origin = service_origin(service, url.port, node_ip, external=url.external, scheme=url.scheme)
    if origin is None and url.external:
        raise _failure(
            "URL_NO_BALANCER",
            f"url `{url.name}`: no load balancer gave Service `{url.service}` an address",
            hints=("cluster.addons: [metallb] in the spec", "or, in another terminal: minikube tunnel"),
        )
    if origin is None:
        kind = (service.get("spec") or {}).get("type")
        raise _failure(
            "URL_NOT_EXPOSED",
            f"url `{url.name}`: Service `{url.service}` is {kind} and has no address outside the cluster",
        )
    return forwarded_origin(origin, url.namespace, url.service, url.port, local) + url.path, None


def _ingress_address(url: UrlPlan, kube: KubePort) -> str:
    """What the controller of the URL's Ingress says its address is; nothing where only the cluster reaches that.

    A controller behind a NodePort publishes the address that its Service has inside (ingress-nginx, publish-service).
    """
    for ingress in listed(kube, "Ingress", url.namespace) or ():
        hosts = {str(one.get("host") or "") for one in rows(ingress, "spec", "rules")}
        for given in rows(ingress, "status", "loadBalancer", "ingress") if url.ingress_host in hosts else ():
            address = str(given.get("ip") or given.get("hostname") or "")
            if address and address != "localhost" and not address.startswith("127."):
                services = listed(kube, "Service") or ()
                return "" if any(dig(one, "spec", "clusterIP") == address for one in services) else address
    return ""


def shown_url(address: str, host: str | None) -> str:
    """The address as a browser would be given it: by the host's name where it answers for that alone."""
    return address if host is None else urllib.parse.urlsplit(address)._replace(netloc=host).geturl()


def forwarded_origin(origin: str, namespace: str, service: str, port: int | str | None, local: LocalPorts) -> str:
    """The origin; at a port of this machine where that is forwarded to the Service."""
    found = local.get((namespace, service, str(port or "")))
    return origin if found is None else f"{origin.partition(':')[0]}://{_HERE}:{found}"


def service_origin(
    service: Object, port: int | str | None, node_ip: str, *, external: bool = False, scheme: str | None = None
) -> str | None:
    """`scheme://host:port` at which the Service is reached from this machine; None where it is not exposed.

    `external`: its load balancer's address, and no other. `scheme`: default that of the port.
    """
    spec: Mapping[str, Any] = service.get("spec") or {}
    ports = [one for one in spec.get("ports") or () if port is None or port in (one.get("name"), one.get("port"))]
    if not ports:
        return None
    scheme = scheme or ("https" if _is_https(ports[0]) else "http")
    balanced = _balanced(service)
    if balanced is not None:
        return f"{scheme}://{balanced}:{ports[0]['port']}"
    if ports[0].get("nodePort") and not external:
        return f"{scheme}://{node_ip}:{ports[0]['nodePort']}"
    return None


def _is_https(port: Mapping[str, Any]) -> bool:
    # https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol
    named = str(port.get("appProtocol") or port.get("name") or "").lower()
    return port.get("port") == 443 or named.startswith("https")


def _is_listed(host: str, hosts: Path) -> bool:
    """Whether the machine's list has the name, without its port."""
    lines = text_if_any(hosts).splitlines()
    return any(host.partition(":")[0] in line.partition("#")[0].split()[1:] for line in lines)


def _way_to(host: str, address: str) -> str:
    name, node = host.partition(":")[0], urllib.parse.urlsplit(address)
    return (
        f"a browser finds it after: echo '{node.hostname} {name}' | sudo tee -a {HOSTS}"
        f" (or ask: curl -H 'Host: {host}' {address})"
    )


def _balanced(service: Object) -> str | None:
    """The address that a load balancer gave the Service."""
    if (service.get("spec") or {}).get("type") != "LoadBalancer":
        return None
    given = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return str(given[0].get("ip") or given[0].get("hostname")) if given else None


def _await_balancer(url: UrlPlan, kube: KubePort, clock: Clock) -> Steps[None]:
    """A URL that is proven at a load balancer's address has one, or was waited for."""
    if not url.external:
        return
    assert url.service is not None
    deadline, reported = clock.monotonic() + _LIMIT_SECONDS, False
    while (service := kube.get("Service", url.namespace, url.service)) is not None and _balanced(service) is None:
        if clock.monotonic() > deadline:
            return
        if not reported:
            yield Item(STAGE, url.name, ItemState.RUNNING, f"Service {url.service} has no external address yet")
            reported = True
        clock.sleep(0.3)


def ask(address: str, host: str | None = None, timeout: float = _ANSWER_SECONDS, expect: int | None = None) -> Answer:
    """The answer that a browser would end at: redirects within the same host are followed. Raises OSError.

    A redirect that is itself what is expected is not followed. Asked directly: the cluster is on this machine, no
    proxy stands between. A certificate is not verified: that of a local cluster is seldom signed by anybody.
    """
    name, begun = host.partition(":")[0] if host else None, address
    for _ in range(_REDIRECTS):
        try:
            answer = _get(address, host, timeout)
        except OSError as error:
            if address == begun:
                raise
            raise ConnectionError(f"it redirects to {address}: {error or type(error).__name__}") from error
        here = urllib.parse.urlsplit(address)
        target = urllib.parse.urlsplit(urllib.parse.urljoin(shown_url(address, host), answer.location))
        if answer.status == expect or not answer.location or target.hostname not in (here.hostname, name):
            return answer
        # A server that is asked by a Host header redirects to that name, which only it answers for.
        if host is not None and target.hostname == name:
            port = f":{target.port}" if target.port else ""
            target = target._replace(netloc=here.netloc if target.scheme == here.scheme else f"{here.hostname}{port}")
        address = target.geturl()
    return answer


def _get(address: str, host: str | None, timeout: float) -> Answer:
    parts = urllib.parse.urlsplit(address)
    is_https = parts.scheme == "https"
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or (443 if is_https else 80), _CONNECT_SECONDS
    )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.connect()
        connection.sock.settimeout(timeout)
        if is_https:
            name = host.partition(":")[0] if host else parts.hostname
            connection.sock = _unverified().wrap_socket(connection.sock, server_hostname=name)
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        body = _body(answer, time.monotonic() + timeout)
        headers = {name.lower(): foreign(value) for name, value in answer.headers.items()}
        location = answer.headers.get("Location", "") if answer.status in _REDIRECT_CODES else ""
        charset = answer.headers.get_content_charset("utf-8")
        return Answer(answer.status, headers, foreign(_decoded(body, charset)), location)
    except http.client.HTTPException as error:
        raise ConnectionError(type(error).__name__) from error
    finally:
        connection.close()


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _body(answer: http.client.HTTPResponse, end: float) -> bytes:
    """The beginning of the body, which may be a stream that never ends."""
    read = b""
    try:
        while len(read) < _MOST_BODY and time.monotonic() < end and (more := answer.read1(_MOST_BODY)):
            read += more
    except TimeoutError:
        pass
    return read[:_MOST_BODY]


def _decoded(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset, "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


def shortfall(url: UrlPlan, answer: Answer) -> str:
    """What the answer lacks of what the spec expects, first of all its status; nothing where it is as expected."""
    to = f" to {foreign(answer.location)}" if answer.location else ""
    if answer.status != url.expect:
        return f"HTTP {answer.status}{to}, expected {url.expect}"
    for name, wanted in url.headers.items():
        found = answer.headers.get(name.lower())
        if found is None or wanted.lower() not in found.lower():
            has = "has no such header" if found is None else f"has {name}: {one_line(found, _SHOWN_LENGTH)}"
            return f"HTTP {answer.status}{to}, expected header {name}{wanted and f': {wanted}'}; the answer {has}"
    if url.contains is not None and url.contains not in answer.body:
        return f'HTTP {answer.status}{to}, expected a body that contains "{one_line(url.contains, _SHOWN_LENGTH)}"'
    if url.matches is not None and re.search(url.matches, answer.body, re.MULTILINE) is None:
        return f"HTTP {answer.status}{to}, expected a body that matches {one_line(url.matches, _SHOWN_LENGTH)}"
    return ""


def _first_lines(answer: Answer) -> list[str]:
    """What the body begins with, as it is shown."""
    lines = [one_line(line, _SHOWN_LENGTH) for line in answer.body[: _MOST_BODY // 16].splitlines() if line.strip()]
    more = [f"({len(lines) - _SHOWN_LINES} more lines)"] if len(lines) > _SHOWN_LINES else []
    return [f"| {line}" for line in lines[:_SHOWN_LINES]] + more


def _prove(
    url: UrlPlan,
    place: tuple[str, str | None, Callable[[], tuple[str, str | None]]],
    first: Callable[[], Answer],
    kube: KubePort,
    clock: Clock,
) -> Steps[tuple[int, str]]:
    """The status, and the address that answered: a controller may give an Ingress another one meanwhile."""
    address, host, find = place
    deadline = clock.monotonic() + _LIMIT_SECONDS
    reported, answered, pause = "", first, _FIRST_PAUSE_SECONDS
    while True:
        answer = None
        try:
            answer = answered()
            lack = shortfall(url, answer)
        except OSError as error:
            lack = foreign(error) or type(error).__name__
            asked = clock.monotonic()
            yield from retried(kube.version, STAGE, clock)  # a cluster that is not there says nothing of the URL
            deadline += clock.monotonic() - asked
        if answer is not None and not lack:
            return answer.status, address
        if lack != reported:
            yield Item(STAGE, url.name, ItemState.RUNNING, f"{address}: {lack}")
            reported = lack
        if clock.monotonic() > deadline:
            title = f"{shown_url(address, host)} does not answer as expected"
            detail = "\n".join([lack, *(_first_lines(answer) if answer is not None else ())])
            raise _failure("URL_FAILED", title, detail, ("todo-deploy logs", "todo-deploy status"))
        clock.sleep(pause)
        pause = min(pause * 2, _PAUSE_SECONDS)
        if answer is None and host is not None:
            address, host = find()
        answered = partial(ask, address, host, expect=url.expect)


def _failure(code: str, title: str, detail: str = "", hints: tuple[str, ...] = ("todo-deploy status",)) -> DeployError:
    return DeployError(Problem(code, title, detail, hints=hints), ExitCode.NOTHING_SERVES)


_CORS_LIMIT_SECONDS = 10.0
_ALLOWED = "access-control-allow-origin"
# What a server answers that has no preflight of its own: the simple request then decides.
_NO_PREFLIGHT = (404, 405, 501)


def prove_cors(plans: Sequence[CorsPlan], served: Mapping[str, str], kube: KubePort, clock: Clock) -> Steps[None]:
    """Every origin is allowed by each Service; `served` gives each URL's address. Failure names all that are not."""
    for plan in plans:
        origins = dict.fromkeys([*plan.origins, *(origin_of(served[url]) for url in plan.urls if url in served)])
        try:
            pod, port = yield from _pod_behind(plan, kube, clock)
            answers = {origin: _asked(plan, pod, port, origin, kube) for origin in origins}
        except OSError as error:
            title = f"could not check whether `{plan.service}` allows the origins of browsers (CORS)"
            hints = (f"todo-deploy logs {plan.service}",)
            yield Warned(Problem("CORS_UNPROVEN", title, str(error) or type(error).__name__, hints=hints))
            continue
        refused = [_refusal(plan, origin, *shown) for origin, shown in answers.items() if not _allows(shown[1], origin)]
        if refused:
            raise DeployError(tuple(refused), ExitCode.NOTHING_SERVES)
        yield Item(STAGE, f"cors {plan.name}", ItemState.DONE, f"allows {', '.join(origins)}")


def origin_of(address: str) -> str:
    """What a browser that shows this address sends as `Origin`."""
    parts = urllib.parse.urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _pod_behind(plan: CorsPlan, kube: KubePort, clock: Clock) -> Steps[tuple[str, int]]:
    """A ready pod of the Service, and its port; ConnectionError where there is none for a while."""
    deadline = clock.monotonic() + _CORS_LIMIT_SECONDS
    shown = False
    while True:
        labels = f"kubernetes.io/service-name={plan.service}"
        for body in kube.list("EndpointSlice", plan.namespace, labels=labels):
            ports = _numbers(plan, body.get("ports") or (), kube)
            for endpoint in body.get("endpoints") or ():
                target = endpoint.get("targetRef") or {}
                if ports and target.get("kind") == "Pod" and (endpoint.get("conditions") or {}).get("ready"):
                    return str(target["name"]), ports[0]
        if clock.monotonic() > deadline:
            raise ConnectionError(f"no ready pod is behind Service `{plan.service}`")
        if not shown:
            yield Item(STAGE, f"cors {plan.name}", ItemState.RUNNING, "no ready pod yet")
            shown = True
        clock.sleep(0.3)


def _numbers(plan: CorsPlan, ports: Sequence[Mapping[str, object]], kube: KubePort) -> list[int]:
    """The pods' ports that the wanted port of the Service leads to: slices name them as the Service does."""
    wanted = plan.port
    if isinstance(wanted, int):
        service = kube.get("Service", plan.namespace, plan.service) or {}
        declared = (service.get("spec") or {}).get("ports") or ()
        wanted = next((one.get("name") or "" for one in declared if one.get("port") == wanted), None)
        if wanted is None:
            return []
    return [number for one in ports if isinstance(number := one.get("port"), int)
            and (wanted is None or (one.get("name") or "") == wanted)]  # fmt: skip


def _asked(plan: CorsPlan, pod: str, port: int, origin: str, kube: KubePort) -> tuple[str, PodAnswer]:
    """The method that decided, and its answer."""
    preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    answer = kube.ask_pod(plan.namespace, pod, port, "OPTIONS", plan.path, preflight)
    if _ALLOWED in answer.headers or answer.status not in _NO_PREFLIGHT:
        return "OPTIONS", answer
    return "GET", kube.ask_pod(plan.namespace, pod, port, "GET", plan.path, {"Origin": origin})


def _allows(answer: PodAnswer, origin: str) -> bool:
    return answer.status < 400 and answer.headers.get(_ALLOWED, "").lower() in ("*", origin)


def _refusal(plan: CorsPlan, origin: str, method: str, answer: PodAnswer) -> Problem:
    allowed = answer.headers.get(_ALLOWED) or "none"
    shown = f"{method} {plan.path} with Origin {origin}: HTTP {answer.status}, Access-Control-Allow-Origin: {allowed}"
    setting = f"add {origin} to {plan.setting} in the spec, then: todo-deploy up" if plan.setting else ""
    return Problem(
        "CORS_REFUSED",
        f"`{plan.service}` does not let browsers at {origin} read its answers",
        shown,
        hints=(setting or f"allow {origin} in the service's CORS settings, then: todo-deploy up",),
    )
