"""Proof that browsers may read a Service's answers from every origin that the spec names or that is really served.

One of the Service's pods is asked itself, through the API server: the Service may have no address outside, and what
stands before it (a frontend that passes requests on) may say nothing of origins.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Item, ItemState, Warned
from deployer.core.ports import KubePort, PodAnswer
from deployer.core.steps import Clock, Steps
from deployer.plan import CorsPlan

STAGE = "urls"
_LIMIT_SECONDS = 10.0
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
    deadline = clock.monotonic() + _LIMIT_SECONDS
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
