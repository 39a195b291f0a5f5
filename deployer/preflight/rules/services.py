"""Rules on the network: Services, Ingresses, NetworkPolicies and the URLs of the spec."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.cluster.network_policy import enforcement
from deployer.core.ports import Object
from deployer.preflight.rules.model import (
    Manifest,
    Place,
    Severity,
    Subject,
    Violation,
    Workload,
    is_custom,
    lacks_addon,
    rule,
    without_addon,
)
from deployer.status.objects import annotations_of, is_default_class, name_of, namespace_of

_NODE_PORTS = range(30000, 32768)
_PORTS = range(1, 65536)
_LEGACY_CLASS = "kubernetes.io/ingress.class"


@rule("SERVICE_SELECTOR", "policy", "topology 000 Service; topology 003 Service Constraints",
      hint="compare the selector with the labels of the pods")  # fmt: skip
def selectors(subject: Subject) -> Iterator[Violation]:
    """Every Service selects pods of a workload."""
    for one in subject.objects("Service"):
        wanted = _selector(one)
        if not wanted or _selected(subject, one) or _runs_already(subject, one):
            continue
        labels = ", ".join(f"{key}={value}" for key, value in wanted.items())
        near = [work.label for work in subject.workloads() if set(wanted.items()) & set(work.pod_labels.items())]
        title = f"{one.label} selects {labels}, and no pod has these labels"
        yield Violation(title, one.place("service"), f"nearest: {near[0]}" if near else "")


@rule("SERVICE_TARGET_PORT", "policy", "topology 003 Service Constraints",
      hint="use a port, or the name of a port, that the containers declare")  # fmt: skip
def target_ports(subject: Subject) -> Iterator[Violation]:
    """Every Service leads to a port, by number or name, that pods of one of its workloads have."""
    for one in subject.objects("Service"):
        works = _selected(subject, one)
        works = [work for work in works if work.runs_on] or works
        for port in _ports(one.body) if works else ():
            target = port.get("targetPort") or port.get("port")  # 0 is filled in
            field = "name" if isinstance(target, str) else "containerPort"
            known = [{it[field] for it in work.ports if it.get(field)} for work in works]
            if any(target in has or (isinstance(target, int) and not has) for has in known):
                continue
            title = f"{one.label}: targetPort {target} is no port of {', '.join(work.label for work in works)}"
            has = ", ".join(map(str, sorted(set().union(*known)))) or "none"
            yield Violation(title, one.place("service", "targetPort"), f"its containers declare: {has}")


@rule("PORT_NUMBER", "certain", "topology 000 Service; Kubernetes docs, Service",
      hint="write a number without quotes, or the name of a container's port as targetPort")  # fmt: skip
def port_numbers(subject: Subject) -> Iterator[Violation]:
    """Ports are numbers within 1-65535; a targetPort may be a name, which has a letter."""
    for one in subject.objects("Service"):
        for port in _ports(one.body):
            for field in ("port", "targetPort"):
                value = port.get(field, 1)
                if not _is_port(value, named=field == "targetPort"):
                    title = f"{one.label}: {field} {value!r} is not within 1-65535"
                    yield Violation(title, one.place("service", field))
    for workload in subject.workloads():
        for port in workload.ports:
            if not _is_port(port.get("containerPort")):
                title = f"{workload.label}: containerPort {port.get('containerPort')!r} is not within 1-65535"
                yield Violation(title, workload.place("port"))


def _is_port(value: object, *, named: bool = False) -> bool:
    if isinstance(value, str):
        return named and any(one.isalpha() for one in value)
    return isinstance(value, int) and (value in _PORTS or (named and not value))


@rule("NODE_PORT_RANGE", "certain", "topology 003 Service Constraints",
      hint="choose a nodePort of the range, or none: the cluster then chooses one")  # fmt: skip
def node_port_range(subject: Subject) -> Iterator[Violation]:
    """NodePorts are within 30000-32767 (another cluster than Minikube's may have another range: advice)."""
    known = subject.loaded.spec.cluster.provider == "minikube"
    for one, number in _node_ports(subject):
        if number not in _NODE_PORTS:
            title = f"{one.label}: nodePort {number} is not within 30000-32767"
            yield Violation(title, one.place("service", "nodePort"), severity=None if known else "warning")


@rule("NODE_PORT_TWICE", "certain", "topology 003 Service Constraints (avoid conflicts)")
def node_port_twice(subject: Subject) -> Iterator[Violation]:
    """No two Services want the same NodePort, and no Service twice for one protocol."""
    first: dict[int, tuple[Manifest, set[str]]] = {}
    for one in subject.objects("Service"):
        for port in filter(lambda port: port.get("nodePort"), _ports(one.body)):
            number, protocol = int(port["nodePort"]), str(port.get("protocol") or "TCP")
            other, protocols = first.setdefault(number, (one, set()))
            if other.ref != one.ref or protocol in protocols:
                title = f"{one.label} and {other.label} both ask for nodePort {number}"
                yield Violation(title, one.place("service", "nodePort"), hints=("give one of them another nodePort",))
            protocols.add(protocol)


@rule("NODE_PORT_TAKEN", "certain", "topology 003 Service Constraints (avoid conflicts)")
def node_port_taken(subject: Subject) -> Iterator[Violation]:
    """No NodePort belongs to somebody else's Service in the running cluster."""
    if subject.cluster is None:
        return
    ours = {one.ref for one in subject.objects("Service")} | subject.cluster.ours
    taken: dict[int, Object] = {}
    for body in subject.cluster.services:
        if not any(ref.kind == "Service" and (ref.namespace, ref.name) == _key(body) for ref in ours):
            taken |= {port["nodePort"]: body for port in _ports(body) if port.get("nodePort")}
    for one, number in _node_ports(subject):
        if number in taken:
            namespace, name = _key(taken[number])
            release = annotations_of(taken[number]).get("meta.helm.sh/release-name")
            of = f" of release `{release}`" if release else ""
            freed = (
                "take that application down: todo-deploy down, in its folder"
                if release
                else f"kubectl delete service -n {namespace} {name}"
            )
            title = f"{one.label} asks for nodePort {number}, which service {namespace}/{name}{of} has"
            yield Violation(title, one.place("service", "nodePort"), hints=(f"another nodePort, or: {freed}",))


@rule("SERVICE_TYPE", "certain", "topology 000 Service; topology 002 Validation Rules",
      hint="give the URL and the Service the same nodePort")  # fmt: skip
def exposure(subject: Subject) -> Iterator[Violation]:
    """A Service that a URL of the spec names is exposed, at the NodePort of the URL."""
    rendered = {(one.namespace, one.name): one for one in subject.objects("Service")}
    for url in subject.plan.urls:
        one = rendered.get((url.namespace, url.service or ""))
        if one is None:
            continue
        kind, place = one.spec.get("type") or "ClusterIP", one.place("service", "type")
        wanted = subject.loaded.spec.urls[url.name].node_port
        has = {port.get("nodePort") for port in _ports(one.body)}
        if kind not in ("NodePort", "LoadBalancer"):
            title = f"url `{url.name}`: {one.label} is of type {kind}, which has no address outside the cluster"
            yield Violation(title, place, hints=("type: NodePort",))
        elif url.external and kind != "LoadBalancer":
            title = f"url `{url.name}` is external: {one.label} is of type {kind}, to which no load balancer leads"
            yield Violation(title, place, hints=("type: LoadBalancer",))
        elif wanted is not None and wanted not in has:
            found = ", ".join(str(number) for number in has if number) or "one that the cluster chooses"
            title = f"url `{url.name}` has nodePort {wanted}, and {one.label} has {found}"
            yield Violation(title, Place(one.release.name, one.label, spec=("urls", url.name, "nodePort")))


@rule("SERVICE_EXPOSED", "advice", "topology 000 Service")
def exposed_without_url(subject: Subject) -> Iterator[Violation]:
    """A Service that is exposed has a URL in the spec."""
    named = {(url.namespace, url.service) for url in subject.plan.urls}
    for one in subject.objects("Service"):
        kind = one.spec.get("type")
        if kind in ("NodePort", "LoadBalancer") and (one.namespace, one.name) not in named:
            title = f"{one.label} is of type {kind}, and no url of the spec checks that it answers"
            yield Violation(title, one.place("service", "type"), hints=("add it under urls, or make it ClusterIP",))


@rule("URL_TARGET", "certain", "topology 000 Service", hint="correct the name in the spec, or let a chart make it")
def url_targets(subject: Subject) -> Iterator[Violation]:
    """URLs and `cors` of the spec name a Service or Ingress host that exists."""
    if len(subject.releases) < len(subject.plan.releases):  # no helm yet: nothing was rendered
        return
    doubt = _doubt(subject)
    services = {(one.namespace, one.name) for one in subject.objects("Service")}
    services |= {_key(body) for body in (subject.cluster.services if subject.cluster is not None else ())}
    hosts = {str(one.get("host") or "") for ingress in subject.objects("Ingress") for one in _ingress_rules(ingress)}
    asked = [("urls", "url", one.name, one.namespace, one.service) for one in subject.plan.urls if one.service]
    asked += [("cors", "cors", one.name, one.namespace, one.service) for one in subject.plan.cors]
    for part, word, name, namespace, service in asked:
        if (namespace, service) not in services:
            near = ", ".join(sorted(known for place, known in services if place == namespace)) or "none"
            title = f"{word} `{name}`: no chart makes a Service `{service}` in namespace `{namespace}`"
            yield Violation(title, Place(spec=(part, name)), f"Services there: {near}", severity=doubt)
    for url in subject.plan.urls:
        if url.ingress_host is not None and hosts.isdisjoint({url.ingress_host, ""}):
            title = f"url `{url.name}`: no chart makes an Ingress for host `{url.ingress_host}`"
            has = f"hosts: {', '.join(sorted(hosts)) or 'none'}"
            yield Violation(title, Place(spec=("urls", url.name)), has, severity=doubt)


def _doubt(subject: Subject) -> Severity | None:
    """A warning where a controller may make Services and Ingresses once all is deployed, or they may be there."""
    custom = any(is_custom(one.body) for one in subject.objects())
    return None if subject.sees_cluster and not custom else "warning"


@rule("INGRESS_BACKEND", "policy", "topology 004 Ingress Configuration",
      hint="correct the backend's service name or port in the Ingress")  # fmt: skip
def ingress_backends(subject: Subject) -> Iterator[Violation]:
    """Every path of an Ingress leads to a Service and port that exist."""
    services = {(one.namespace, one.name): one for one in subject.objects("Service")}
    there = {_key(body) for body in (subject.cluster.services if subject.cluster is not None else ())}
    for one in subject.objects("Ingress"):
        for path in (path for host in _ingress_rules(one) for path in (host.get("http") or {}).get("paths") or ()):
            target = (path.get("backend") or {}).get("service") or {}
            port = target.get("port") or {}
            wanted = port.get("name") or port.get("number")
            key = (one.namespace, str(target.get("name")))
            service = services.get(key)
            who = f"{one.label}: path {path.get('path')} leads to"
            if target and service is None and key not in there:
                yield Violation(f"{who} service `{target.get('name')}`, which no chart makes", one.place("ingress"))
            elif service is not None and wanted is not None:
                has = [item[field] for item in _ports(service.body) for field in ("port", "name") if item.get(field)]
                if wanted not in has:
                    title = f"{who} port {wanted}, which {service.label} does not have"
                    yield Violation(title, one.place("ingress"), f"its ports: {', '.join(map(str, has))}")


@rule("INGRESS_CONTROLLER", "advice", "topology 004 Ingress Configuration; Kubernetes docs, Ingress Controllers",
      hint="cluster.addons: [ingress]")  # fmt: skip
def ingress_controller(subject: Subject) -> Iterator[Violation]:
    """A cluster that gets an Ingress has an Ingress controller among its addons."""
    yield from without_addon(subject, "Ingress", "ingress", "an Ingress controller")


@rule("INGRESS_CLASS", "advice", "Kubernetes docs, Ingress class",
      hint="ingressClassName: one that the cluster has")  # fmt: skip
def ingress_class(subject: Subject) -> Iterator[Violation]:
    """Ingresses name an IngressClass that is there or is made, or there is a default one."""
    known = subject.cluster.ingress_classes if subject.cluster is not None else None
    if known is None or lacks_addon(subject, "ingress"):  # that is said by another rule
        return
    if subject.loaded.spec.cluster.provider == "minikube":  # the addon's own, which may not be there yet
        known |= {"nginx", ""}
    made = list(subject.objects("IngressClass"))
    known |= {one.name for one in made} | {"" for one in made if is_default_class(one.body)}
    has = "it has: " + (", ".join(sorted(filter(None, known))) or "none")
    for one in subject.objects("Ingress"):
        wanted = str(one.spec.get("ingressClassName") or "")
        if wanted not in known and not annotations_of(one.body).get(_LEGACY_CLASS):
            what = f"names class `{wanted}`, which the cluster does not have"
            what = what if wanted else "names no class, and the cluster has no default one"
            yield Violation(f"{one.label} {what}", one.place("ingress", "className"), has)


@rule("LOAD_BALANCER", "advice", "topology 000 Service Types")
def load_balancer(subject: Subject) -> Iterator[Violation]:
    """A cluster whose URLs are at a load balancer's address has one among its addons."""
    for url in subject.plan.urls:
        if url.external and lacks_addon(subject, "metallb"):
            title = f"url `{url.name}` needs a load balancer, and cluster.addons has no `metallb`"
            hints = ("cluster.addons: [metallb]", "or, in another terminal: minikube tunnel")
            yield Violation(title, Place(spec=("urls", url.name, "external")), hints=hints)


@rule("NETWORK_POLICY_ENFORCED", "advice", "topology 004 Security Requirements (network policies)")
def enforced(subject: Subject) -> Iterator[Violation]:
    """A cluster that gets NetworkPolicies has a network plugin that enforces them."""
    cluster, asked = subject.cluster, subject.loaded.spec.cluster
    if cluster is None or cluster.estimated or (asked.provider == "minikube" and "network-policies" in asked.addons):
        return
    found, policies = enforcement(cluster.pods), list(subject.objects("NetworkPolicy"))
    if policies and not found.enforced:
        yield Violation(
            f"NetworkPolicies are {found.words}",
            Place(policies[0].release.name, policies[0].label),
            ", ".join(one.label for one in policies),
            (
                "they do no harm; cluster.addons: [network-policies] enforces them",
                "so does a cluster that is made with such a plugin (minikube start --cni=calico)",
            ),
        )


def _key(body: Object) -> tuple[str, str]:
    """Namespace and name of an object of the cluster."""
    return namespace_of(body), name_of(body)


def _ports(body: Object) -> list[Object]:
    return list((body.get("spec") or {}).get("ports") or ())


def _node_ports(subject: Subject) -> Iterator[tuple[Manifest, int]]:
    for one in subject.objects("Service"):
        for port in _ports(one.body):
            if port.get("nodePort"):
                yield one, int(port["nodePort"])


def _ingress_rules(one: Manifest) -> list[Object]:
    return list(one.spec.get("rules") or ())


def _selector(one: Manifest) -> dict[str, str]:
    return dict(one.spec.get("selector") or {})


def _selected(subject: Subject, one: Manifest) -> list[Workload]:
    wanted = _selector(one).items()
    works = (work for work in subject.workloads() if work.namespace == one.namespace)
    return [work for work in works if wanted and wanted <= work.pod_labels.items()]


def _runs_already(subject: Subject, one: Manifest) -> bool:
    wanted = _selector(one).items()
    pods = (pod.get("metadata") or {} for pod in (subject.cluster.pods if subject.cluster is not None else ()))
    return any(pod.get("namespace") == one.namespace and wanted <= (pod.get("labels") or {}).items() for pod in pods)
