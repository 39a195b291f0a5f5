"""Rules on Services, Ingresses and the URLs of the spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deployer.core.ports import Object, ObjectRef
from deployer.preflight.rules.model import (
    Breach,
    Place,
    Rendered,
    Rule,
    Subject,
    Workload,
    label_of,
    lacks_addon,
    name_of,
    namespace_of,
    place_of,
    unasked,
)

_NODE_PORTS = range(30000, 32768)
_PORTS = range(1, 65536)


def selectors(subject: Subject) -> Iterator[Breach]:
    """Services that no pod answers for."""
    for one, body in _services(subject):
        wanted = _selector(body)
        if not wanted or _selected(subject, one, body) or _runs_already(subject, one, body):
            continue
        told = ", ".join(f"{key}={value}" for key, value in wanted.items())
        near = [work.label for work in subject.workloads() if set(wanted.items()) & set(work.labels.items())]
        detail = f"nearest: {near[0]}" if near else ""
        yield Breach(f"{label_of(body)} selects {told}, which no pod has", place_of(one.release.name, body, "service"),
                     detail)  # fmt: skip


def target_ports(subject: Subject) -> Iterator[Breach]:
    """Services that lead to a port their pods do not have."""
    for one, body in _services(subject):
        for workload in _selected(subject, one, body):
            ports = [port for container in workload.containers(init=True) for port in container.get("ports") or ()]
            names = {port.get("name") for port in ports} - {None}
            numbers = {port.get("containerPort") for port in ports}
            for port in _ports(body):
                target = port.get("targetPort", port.get("port"))
                place = place_of(one.release.name, body, "service", "targetPort")
                if isinstance(target, str) and target not in names:
                    told = ", ".join(sorted(names)) or "none"
                    title = f"{label_of(body)} leads to port `{target}` of {workload.label}, which has no such port"
                    yield Breach(title, place, f"named ports: {told}")
                elif isinstance(target, int) and numbers and target not in numbers:
                    told = ", ".join(str(number) for number in sorted(filter(None, numbers)))
                    title = f"{label_of(body)} leads to port {target} of {workload.label}, which listens on {told}"
                    yield Breach(title, place)


def port_numbers(subject: Subject) -> Iterator[Breach]:
    """Ports outside 1-65535."""
    for one, body in _services(subject):
        for port in _ports(body):
            yield from (
                Breach(f"{label_of(body)}: {field} {port[field]} is not within 1-65535",
                       place_of(one.release.name, body, "service", field))
                for field in ("port", "targetPort")
                if isinstance(port.get(field), int) and port[field] not in _PORTS
            )  # fmt: skip
    for workload in subject.workloads():
        for container in workload.containers(init=True):
            for port in container.get("ports") or ():
                number = port.get("containerPort")
                if not isinstance(number, int) or number not in _PORTS:
                    place = place_of(workload.release, workload.body, "port")
                    yield Breach(f"{workload.label}: container port {number} is not within 1-65535", place)


def node_port_range(subject: Subject) -> Iterator[Breach]:
    """NodePorts that the API server would refuse."""
    for one, body, number in _node_ports(subject):
        if number not in _NODE_PORTS:
            place = place_of(one.release.name, body, "service", "nodePort")
            yield Breach(f"{label_of(body)}: nodePort {number} is not within 30000-32767", place)


def node_port_twice(subject: Subject) -> Iterator[Breach]:
    """NodePorts that two Services want."""
    first: dict[int, str] = {}
    for one, body, number in _node_ports(subject):
        if number in first:
            place = place_of(one.release.name, body, "service", "nodePort")
            yield Breach(f"{label_of(body)} wants nodePort {number}, as does {first[number]}", place)
        first.setdefault(number, label_of(body))


def node_port_taken(subject: Subject) -> Iterator[Breach]:
    """NodePorts that somebody else's Service has."""
    if subject.cluster is None:
        return
    wanted = {(namespace_of(one.release, body), name_of(body)) for one, body in _services(subject)}
    taken: dict[int, Object] = {}
    for body in subject.cluster.services:
        there = ((body.get("metadata") or {}).get("namespace", ""), name_of(body))
        if there not in wanted and ObjectRef("Service", *there) not in subject.cluster.ours:
            taken |= {port["nodePort"]: body for port in _ports(body) if port.get("nodePort")}
    for one, body, number in _node_ports(subject):
        if number in taken:
            place = place_of(one.release.name, body, "service", "nodePort")
            title = f"{label_of(body)} wants nodePort {number}, which {_whose(taken[number])} has"
            yield Breach(title, place, hints=(_instead(taken[number]),))


def _whose(body: Object) -> str:
    """The Service, and the Helm release that it belongs to."""
    metadata = body.get("metadata") or {}
    release = (metadata.get("annotations") or {}).get("meta.helm.sh/release-name")
    return f"service {metadata.get('namespace')}/{name_of(body)}" + (f" of release `{release}`" if release else "")


def _instead(body: Object) -> str:
    metadata = body.get("metadata") or {}
    if (metadata.get("annotations") or {}).get("meta.helm.sh/release-name"):
        return "another nodePort, or take that application down: todo-deploy down, in its folder"
    return f"another nodePort, or: kubectl delete service -n {metadata.get('namespace')} {name_of(body)}"


def exposure(subject: Subject) -> Iterator[Breach]:
    """URLs of the spec that ask a Service which has no address outside the cluster, or another NodePort."""
    rendered = {(namespace_of(one.release, body), name_of(body)): (one, body) for one, body in _services(subject)}
    for url in subject.plan.urls:
        found = rendered.get((url.namespace, url.service or ""))
        if found is None:
            continue
        one, body = found
        kind = (body.get("spec") or {}).get("type") or "ClusterIP"
        wanted = subject.loaded.spec.urls[url.name].node_port
        has = {port.get("nodePort") for port in _ports(body)}
        if kind not in ("NodePort", "LoadBalancer"):
            yield Breach(
                f"url `{url.name}` asks {label_of(body)}, which is {kind} and has no address outside the cluster",
                place_of(one.release.name, body, "service", "type"),
                hints=("type: NodePort",),
            )
        elif url.external and kind != "LoadBalancer":
            yield Breach(
                f"url `{url.name}` is external, and {label_of(body)} is {kind}: no load balancer gives it an address",
                place_of(one.release.name, body, "service", "type"),
                hints=("type: LoadBalancer",),
            )
        elif wanted is not None and wanted not in has:
            told = ", ".join(str(number) for number in has if number) or "one that the cluster chooses"
            title = f"url `{url.name}` is said to be at nodePort {wanted}; {label_of(body)} has {told}"
            yield Breach(title, Place(one.release.name, label_of(body), spec=("urls", url.name, "nodePort")))


def unnamed_exposure(subject: Subject) -> Iterator[Breach]:
    """Services that are reached from outside and that no URL of the spec names."""
    named = {(url.namespace, url.service) for url in subject.plan.urls}
    for one, body in _services(subject):
        kind = (body.get("spec") or {}).get("type")
        if kind in ("NodePort", "LoadBalancer") and (namespace_of(one.release, body), name_of(body)) not in named:
            title = f"{label_of(body)} is {kind}, and no url of the spec proves it"
            yield Breach(title, place_of(one.release.name, body, "service", "type"),
                         hints=("add it under urls, or make it ClusterIP",))  # fmt: skip


def url_targets(subject: Subject) -> Iterator[Breach]:
    """URLs whose Service or Ingress host nothing renders."""
    if len(subject.releases) < len(subject.plan.releases):  # no helm yet: nothing was rendered
        return
    services = {(namespace_of(one.release, body), name_of(body)) for one, body in _services(subject)}
    hosts = {str(rule.get("host") or "") for _, body in subject.objects("Ingress") for rule in _rules(body)}
    there = subject.cluster.services if subject.cluster is not None else ()
    services |= {((body.get("metadata") or {}).get("namespace", ""), name_of(body)) for body in there}
    asked = [("urls", "url", one.name, one.namespace, one.service) for one in subject.plan.urls if one.service]
    asked += [("cors", "cors", one.name, one.namespace, one.service) for one in subject.plan.cors]
    for part, word, name, namespace, service in asked:
        if (namespace, service) not in services:
            near = ", ".join(sorted(known for place, known in services if place == namespace)) or "none"
            title = f"{word} `{name}`: no chart makes a Service `{service}` in namespace `{namespace}`"
            yield Breach(title, Place(spec=(part, name)), f"there are: {near}")
    for url in subject.plan.urls:
        if url.ingress_host is not None and hosts.isdisjoint({url.ingress_host, ""}):
            title = f"url `{url.name}`: no chart makes an Ingress for host `{url.ingress_host}`"
            yield Breach(title, Place(spec=("urls", url.name)), "there are: " + (", ".join(sorted(hosts)) or "none"))


def ingress_backends(subject: Subject) -> Iterator[Breach]:
    """Ingress paths that lead to a Service or port that is not there."""
    services = {(namespace_of(one.release, body), name_of(body)): body for one, body in _services(subject)}
    for one, body in subject.objects("Ingress"):
        for path in (path for rule in _rules(body) for path in (rule.get("http") or {}).get("paths") or ()):
            target = (path.get("backend") or {}).get("service") or {}
            port = target.get("port") or {}
            wanted = port.get("name") or port.get("number")
            service = services.get((namespace_of(one.release, body), str(target.get("name"))))
            place = place_of(one.release.name, body, "ingress")
            if target and service is None:
                title = f"{label_of(body)}: path {path.get('path')} leads to service `{target.get('name')}`"
                yield Breach(f"{title}, which no chart makes", place)
            elif service is not None and wanted is not None:
                has = [item.get(field) for item in _ports(service) for field in ("port", "name") if item.get(field)]
                if wanted not in has:
                    title = f"{label_of(body)}: path {path.get('path')} leads to port {wanted} of {label_of(service)}"
                    yield Breach(title, place, "it has: " + ", ".join(map(str, has)))


def ingress_controller(subject: Subject) -> Iterator[Breach]:
    """An Ingress on a cluster that is not asked to have a controller for it."""
    yield from unasked(subject, "Ingress", "ingress", "an Ingress controller, and the spec asks for none")


def load_balancer(subject: Subject) -> Iterator[Breach]:
    """A URL at a load balancer's address on a cluster that is not asked to have one."""
    for url in subject.plan.urls:
        if url.external and lacks_addon(subject, "metallb"):
            yield Breach(
                f"url `{url.name}` needs a load balancer, and the spec asks for none",
                Place(spec=("urls", url.name, "external")),
                hints=("cluster.addons: [metallb]", "or, in another terminal: minikube tunnel"),
            )


def _services(subject: Subject) -> Iterator[tuple[Rendered, Object]]:
    yield from subject.objects("Service")


def _ports(body: Object) -> list[Object]:
    return list((body.get("spec") or {}).get("ports") or ())


def _node_ports(subject: Subject) -> Iterator[tuple[Rendered, Object, int]]:
    for one, body in _services(subject):
        for port in _ports(body):
            if port.get("nodePort"):
                yield one, body, int(port["nodePort"])


def _rules(body: Object) -> list[Object]:
    return list((body.get("spec") or {}).get("rules") or ())


def _selector(body: Object) -> Mapping[str, str]:
    return dict((body.get("spec") or {}).get("selector") or {})


def _selected(subject: Subject, one: Rendered, body: Object) -> list[Workload]:
    wanted, namespace = _selector(body).items(), namespace_of(one.release, body)
    return [
        work for work in subject.workloads()
        if wanted and work.namespace == namespace and wanted <= work.labels.items()
    ]  # fmt: skip


def _runs_already(subject: Subject, one: Rendered, body: Object) -> bool:
    wanted, namespace = _selector(body).items(), namespace_of(one.release, body)
    pods = (pod.get("metadata") or {} for pod in (subject.cluster.pods if subject.cluster is not None else ()))
    return any(pod.get("namespace") == namespace and wanted <= (pod.get("labels") or {}).items() for pod in pods)


RULES = (
    Rule("SERVICE_SELECTOR", "S0 Service; S3 Service Constraints", "error",
         "Every Service selects pods of a workload.", selectors),
    Rule("SERVICE_TARGET_PORT", "S3 Service Constraints", "error",
         "Every Service leads to a port, by number or name, that its pods have.", target_ports),
    Rule("PORT_NUMBER", "S0 Service", "error", "Ports are within 1-65535.", port_numbers),
    Rule("NODE_PORT_RANGE", "S3 Service Constraints", "error", "NodePorts are within 30000-32767.", node_port_range),
    Rule("NODE_PORT_TWICE", "S3 Service Constraints (avoid conflicts)", "error",
         "No two Services want the same NodePort.", node_port_twice),
    Rule("NODE_PORT_TAKEN", "S3 Service Constraints (avoid conflicts)", "error",
         "No NodePort belongs to somebody else's Service in the running cluster.", node_port_taken),
    Rule("SERVICE_TYPE", "S0 Service; S2 Validation Rules", "error",
         "A Service that a URL of the spec asks is exposed, at the NodePort the URL says.", exposure),
    Rule("SERVICE_EXPOSED", "S0 Service", "warning",
         "A Service that is exposed is proven by a URL of the spec.", unnamed_exposure),
    Rule("URL_TARGET", "S0 Service", "error", "URLs and `cors` of the spec ask a Service or Ingress host that exists.",
         url_targets),
    Rule("INGRESS_BACKEND", "S4 Ingress Configuration", "error",
         "Every path of an Ingress leads to a Service and port that exist.", ingress_backends),
    Rule("INGRESS_CONTROLLER", "S4 Ingress Configuration; Kubernetes docs, Ingress Controllers", "warning",
         "A cluster that gets an Ingress is asked for a controller.", ingress_controller),
    Rule("LOAD_BALANCER", "S0 Service Types", "warning",
         "A cluster whose URLs are at a load balancer's address is asked for one.", load_balancer),
)  # fmt: skip
