"""A chart is read by rendering it: whatever its values are called, the marks in its pods tell what they are for."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.init.match import candidates
from deployer.init.model import Exposed, SecretNeed, Slot
from deployer.init.read import _taken_of_each_kind, read
from tests.unit.init.charts import Counted, Template, Values, chart, container, over, pods, refused, rendering, service


def slots(values: Values, template: Template) -> tuple[Slot, ...]:
    return read(chart(values), "shop", "shop", rendering(values, template)).slots


def one_image(image: Any) -> Template:
    return lambda v: [pods("web", container(image(v), port=8080))]


@pytest.mark.parametrize(
    ("values", "image", "expected"),
    [
        pytest.param(
            {"image": {"repository": "acme/web", "tag": ""}},
            lambda v: f"{v['image']['repository']}:{v['image']['tag'] or '1.2.3'}",
            {"image.repository": "{repository}", "image.tag": "{tag}"}, id="helm create",
        ),
        pytest.param({"image": "acme/web:1"}, lambda v: v["image"], {"image": "{ref}"}, id="one reference"),
        pytest.param(
            {"imageTag": "1", "targetPercentage": 80}, lambda v: f"fixed/web:{v['imageTag']}",
            {"imageTag": "{tag}"}, id="only a tag",
        ),
        pytest.param(
            {"image": {"name": "web", "version": 2}, "version": "x"},
            lambda v: f"{v['image']['name']}:{v['image']['version']}",
            {"image.name": "{repository}", "image.version": "{tag}"}, id="other words, and a number",
        ),
        pytest.param({"web": {"image.ref": "a:1"}}, lambda v: v["web"]["image.ref"], {"web.image\\.ref": "{ref}"},
                     id="a dot in a key"),
        pytest.param({"tag": "1"}, lambda v: "busybox:1", {}, id="written in the template"),
    ],
)  # fmt: skip
def test_every_way_of_putting_an_image_together(values: Values, image: Any, expected: dict[str, str]) -> None:
    (slot,) = slots(values, one_image(image))
    assert slot.values == expected
    assert (slot.users, slot.ports) == (("deployment/web",), (8080,))
    assert slot.image == image(values)


def test_a_registry_becomes_the_one_that_local_images_are_found_under() -> None:
    values = {"image": {"registry": "quay.io", "repository": "acme/web", "tag": "1"}}
    (slot,) = slots(values, one_image(lambda v: "{registry}/{repository}:{tag}".format_map(v["image"])))
    assert slot.fixed == {"image.registry": "{registry}"}
    assert slot.values == {"image.repository": "{repository}", "image.tag": "{tag}"}


def test_an_image_that_is_built_here_is_not_pulled_at_each_start() -> None:
    values = {"image": {"name": "web", "tag": "1", "pullPolicy": "Always"}, "other": {"pullPolicy": "Always"}}

    def template(v: Any) -> list[dict[str, Any]]:
        policy = v["image"]["pullPolicy"]
        return [pods("web", container(f"{v['image']['name']}:{v['image']['tag']}", imagePullPolicy=policy))]

    (slot,) = slots(values, template)
    assert slot.fixed == {"image.pullPolicy": "IfNotPresent"}


def test_images_of_a_list_are_found_by_the_names_of_its_items() -> None:
    values = {"services": [{"name": "a", "image": {"repository": "x/a", "tag": 1}}, {"image": "b:1"}]}

    def template(v: Any) -> list[dict[str, Any]]:
        first, second = v["services"]
        return [pods(first["name"], container(f"{first['image']['repository']}:{first['image']['tag']}")),
                pods("b", container(second["image"]))]  # fmt: skip

    assert [slot.values for slot in slots(values, template)] == [
        {"services[a].image.repository": "{repository}", "services[a].image.tag": "{tag}"},
        {"services[1].image": "{ref}"},
    ]  # fmt: skip


def test_names_that_templates_write_are_those_of_the_images() -> None:
    values = {"global": {"registry": "r.example.com/shop", "tag": "1"}, "web": {"digest": "sha256:" + "0" * 64}}

    def template(v: Any) -> list[dict[str, Any]]:
        web = f"@{v['web']['digest']}" if v["web"]["digest"] else f":{v['global']['tag']}"
        return [pods("api", container(f"{v['global']['registry']}/api:{v['global']['tag']}")),
                pods("web", container(f"{v['global']['registry']}/web{web}")),
                pods("old", container(f"acme/old:v{v['global']['tag']}"))]  # fmt: skip

    api, web, old = slots(values, template)
    shared = {"global.tag": "{tag}"}
    assert (api.repository, api.values, api.fixed) == ("api", shared, {"global.registry": "{registry}"})
    assert (web.repository, web.values) == ("web", shared)
    assert web.fixed == {"global.registry": "{registry}", "web.digest": ""}
    assert old.values == {}, "no value makes the tag that is built"


def test_secrets_of_hooks_and_controllers_are_left_alone() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        wants = [env(name, "k") for name in ("by-hook", "by-operator", "db-app", "needed")]
        hook = pods("certs", container("c:1", args=["create", "--secret-name=by-hook"]), kind="Job")
        certificate = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "c"},
                       "spec": {"secretName": "by-operator"}}  # fmt: skip
        database = {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "db"}}
        return [pods("web", container("w:1", env=wants)), hook, certificate, database]

    assert [need.name for need in secrets({}, template)] == ["needed"]


def test_an_empty_name_of_a_secret_gets_one_of_its_own() -> None:
    found = secrets(
        {"existingSecret": ""}, lambda v: [pods("web", container("w:1", env=[env(v["existingSecret"], "K")]))]
    )
    assert found == (SecretNeed("existing-secret", {"K": True}, False, ("existingSecret",)),)


def test_a_secret_that_pods_can_do_without_is_marked() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        auth, more = v["auth"], v["extraEnvVarsSecret"]
        key = auth["existingSecretPasswordKey"] or "password"
        container_ = container("w:1", env=[env(auth["existingSecret"] or "web", key)])
        container_ |= {"envFrom": [{"secretRef": {"name": more}}]} if more else {}
        return [pods("web", container_), {"kind": "Secret", "metadata": {"name": "web"}}]

    values = {"auth": {"existingSecret": "", "existingSecretPasswordKey": ""}, "extraEnvVarsSecret": ""}
    assert secrets(values, template) == (
        SecretNeed("web", {"password": True}, False, ("auth.existingSecret",), made=True),
        SecretNeed("extra-env-vars-secret", {}, True, ("extraEnvVarsSecret",), more=True),
    )


def test_a_headless_service_gets_no_node_port() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        made = service("set", "set", v["service"]["type"])
        made["spec"]["clusterIP"] = "None"
        return [pods("set", PROBED), made]

    assert exposures({"service": {"type": "ClusterIP"}}, template) == ()


def test_an_ingress_leads_to_the_path_that_its_pods_answer() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        backend = {"service": {"name": "web"}}
        rules = [{"host": "a.example.com", "http": {"paths": [{"path": "/", "backend": backend}]}},
                 {"host": "b.example.com", "http": {"paths": [{"path": "/b", "backend": backend}]}}]  # fmt: skip
        ingress = {"kind": "Ingress", "metadata": {"name": "i"}, "spec": {"ingressClassName": "nginx", "rules": rules}}
        return [pods("web", PROBED), service("web", "web"), ingress]

    found = exposures({}, template)
    assert [(one.host, one.service, one.probe, one.ingress_class) for one in found] == [
        ("a.example.com", "web", "/ready", "nginx"), ("b.example.com", "web", "/b", "nginx")
    ]  # fmt: skip


def test_a_service_that_does_not_speak_http_is_known_by_its_port() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        made = []
        for name, port in (("db", {"port": 5432}), ("rpc", {"name": "grpc", "port": 80}), ("web", {"port": 8080})):
            one = service(name, name, "NodePort")
            one["spec"]["ports"] = [port]
            made.append(one)
        return made

    assert {one.service: one.web for one in exposures({}, template)} == {"db": False, "rpc": False, "web": True}


def test_a_registry_that_is_not_used_is_left_so() -> None:
    values = {"global": {"imageRegistry": ""}, "image": {"registry": "", "repository": "web", "tag": "1"}}
    assert candidates(values) == (("image", "repository"), ("image", "tag"))
    assert candidates({"tag[0]": "1"}) == (), "a path would be one into a list"


def test_an_image_of_two_workloads_is_one_slot_and_hooks_of_tests_are_none() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        hook = pods("test", container("busybox"), kind="Pod")
        hook["metadata"]["annotations"] = {"helm.sh/hook": "test"}
        first = pods("web", container(v["image"]), initContainers=[container(v["image"], "first", 9)])
        return [first, pods("job", container(v["image"]), kind="Job"), hook]

    (slot,) = slots({"image": "web:1"}, template)
    assert (slot.users, slot.ports) == (("deployment/web", "job/job"), (9,))


def test_a_chart_that_does_not_render_without_its_images_is_rendered_with_marks() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        if not v["image"]["repository"] or not v["image"]["tag"]:
            return list(refused())
        if not isinstance(v["image"]["tagCount"], int):
            return list(refused(why="image.tagCount is no number"))
        return [pods("web", container(f"{v['image']['repository']}:{v['image']['tag']}"))]

    values = {"image": {"repository": "", "tag": "", "tagCount": 3}}
    reading = read(chart(values), "shop", "shop", rendering(values, template))
    assert [slot.values for slot in reading.slots] == [{"image.repository": "{repository}", "image.tag": "{tag}"}]
    assert reading.slots[0].image == ""


def test_what_a_chart_takes_no_mark_at_is_left_out() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        return [pods("web", container(f"web:{v['tag']}"))] if v["registry"] == "quay.io" else list(refused())

    (slot,) = slots({"tag": "1", "registry": "quay.io"}, template)
    assert slot.values == {"tag": "{tag}"}


def test_a_chart_that_never_renders_says_why_and_is_not_tried_with_each_of_its_images() -> None:
    counted = Counted({f"part{at}": {"image": ""} for at in range(20)}, refused)
    reading = read(chart(counted.values), "shop", "shop", counted)
    assert (reading.slots, reading.problem) == ((), "Error: image.tag is required")
    assert counted.renders == 2


def of_parts(count: int, **more: Any) -> dict[str, Any]:
    """The values of a chart of so many parts, each with an image and a Service of its own."""
    image = {"registry": "quay.io", "repository": "acme/part", "tag": "1"}
    parts = {f"part{at}": {"image": image, "service": {"type": "ClusterIP"}, **more} for at in range(count)}
    return {"parts": parts}


def parts(v: Any) -> list[dict[str, Any]]:
    """Pods and Service of every other part."""
    shown = list(v["parts"].items())[::2]
    made = [pods(name, container("{registry}/{repository}:{tag}".format_map(one["image"]))) for name, one in shown]
    return [*made, *(service(name, name, one["service"]["type"]) for name, one in shown)]


def test_the_number_of_renders_does_not_grow_with_the_parts_of_a_chart() -> None:
    few, many = (Counted(of_parts(count), parts) for count in (4, 40))
    readings = [read(chart(one.values), "shop", "shop", one) for one in (few, many)]
    assert [len(one.exposed) for one in readings] == [2, 20]
    assert many.renders == few.renders <= 4


def one_by_one(v: Any) -> list[dict[str, Any]]:
    """As `parts`, but it refuses more than one Service that is exposed, and types that it does not know."""
    types = [one["service"]["type"] for one in v["parts"].values()]
    return parts(v) if types.count("NodePort") < 2 and {*types} <= {"ClusterIP", "NodePort"} else list(refused())


def known_types(v: Any) -> list[dict[str, Any]]:
    """As `parts`, but it refuses types that it does not know."""
    types = {one["service"]["type"] for one in v["parts"].values()}
    return parts(v) if types <= {"ClusterIP", "NodePort"} else list(refused())


@pytest.mark.parametrize("template", [parts, one_by_one, known_types])
def test_whether_values_are_tried_together_or_one_by_one_the_reading_is_the_same(template: Template) -> None:
    values = of_parts(6)
    found = read(chart(values), "shop", "shop", rendering(values, template)).exposed
    assert [(one.service, one.type_path) for one in found] == [
        (f"part{at}", f"parts.part{at}.service.type") for at in (0, 2, 4)
    ]


@pytest.mark.parametrize("with_open", [False, True])
def test_a_value_that_exposes_two_services_and_one_that_comes_with_its_type_are_found(with_open: bool) -> None:
    values = {"type": "ClusterIP", "web": {"serviceType": ""}, "extra": {"serviceType": "ClusterIP"}}

    def template(v: Any) -> list[dict[str, Any]]:
        made = [service("api", "api", v["type"]), service("web", "web", v["web"]["serviceType"] or v["type"])]
        is_open = with_open and v["extra"]["serviceType"] == "NodePort"
        return made + ([service("open", "web", "NodePort")] if is_open else [])

    found = read(chart(values), "shop", "shop", rendering(values, template)).exposed
    assert [(one.service, one.type_path) for one in found] == [
        ("api", "type"), ("web", "type"), ("open", "extra.serviceType")
    ][: 2 + with_open]  # fmt: skip


@pytest.mark.parametrize(
    ("refusing", "left"),
    [
        (("registry",), 12),  # a chart that checks its registries
        (("registry", "repository"), 6),
        ((), 18),
    ],
)
def test_what_a_chart_takes_no_mark_at_is_found_by_halves_of_each_kind(refusing: tuple[str, ...], left: int) -> None:
    values = of_parts(6)
    paths = candidates(values)
    changed = [path for path in paths if path[-1] not in refusing]

    def render(more: Any) -> list[dict[str, Any]]:
        given = over(values, more)["parts"]
        checked = all(one["image"][name] == values["parts"]["part0"]["image"][name]
                      for one in given.values() for name in refusing)  # fmt: skip
        return [] if checked else list(refused())

    counted = Counted(values, lambda _: [], render)
    assert _taken_of_each_kind(counted, values, paths) == tuple(changed) and len(changed) == left
    # Three kinds, then halves and quarters of each that is refused.
    assert counted.renders == 3 + len(refusing) * (2 + 4)


def test_the_one_path_that_a_chart_takes_no_mark_at_is_left_out_of_its_kind() -> None:
    values = of_parts(9)
    paths = candidates(values)
    checked = ("parts", "part4", "image", "registry")

    def render(more: Any) -> list[dict[str, Any]]:
        return [] if over(values, more)["parts"]["part4"]["image"]["registry"] == "quay.io" else list(refused())

    counted = Counted(values, lambda _: [], render)
    assert _taken_of_each_kind(counted, values, paths) == tuple(path for path in paths if path != checked)
    assert counted.renders < 3 + 2 * 5


@pytest.mark.parametrize(
    "broken",
    [
        pods("odd", container("o:1", env={"A": "b"})),
        pods("odd", {"name": "main", "image": "o:1", "ports": "80"}),
        pods("odd", container("o:1"), volumes=[None]),
        {**service("odd", "web", "NodePort"), "spec": {"type": "NodePort", "selector": "web", "ports": [{"port": 80}]}},
        {"kind": "Service", "metadata": {"name": "odd"}, "spec": {"type": "NodePort", "ports": [{"nodePort": {}}]}},
        {"kind": "Pod", "metadata": {"name": "odd", "annotations": ["a"]}, "spec": {"containers": []}},
    ],
)
def test_an_object_that_has_not_the_fields_of_its_kind_is_passed_over(broken: dict[str, Any]) -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        return [broken, pods("web", container(v["image"])), service("web", "web", "NodePort")]

    values = {"image": "acme/web:1"}
    reading = read(chart(values), "shop", "shop", rendering(values, template))
    assert [slot.users for slot in reading.slots] == [("deployment/web",)]
    assert [one.service for one in reading.exposed] == ["web"]


def env(name: str, key: str, *, optional: bool = False) -> dict[str, Any]:
    return {"name": key, "valueFrom": {"secretKeyRef": {"name": name, "key": key, "optional": optional}}}


def secrets(values: Values, template: Template) -> tuple[SecretNeed, ...]:
    return read(chart(values), "shop", "shop", rendering(values, template)).secrets


def test_secrets_that_nothing_makes_are_needed_with_their_keys() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        volume = {"name": "c", "secret": {"secretName": "tls", "items": [{"key": "tls.crt", "path": "x"}]}}
        made = {"kind": "Secret", "metadata": {"name": "own"}}
        return [
            made,
            pods("web", container("w:1", env=[env("a", "K"), env("a", "O", optional=True), env("own", "X")],
                                  envFrom=[{"secretRef": {"name": "all"}}], volumeMounts=[{"name": "c"}]),
                 volumes=[volume]),
            pods("job", container("w:1", env=[env("a", "O")]), kind="CronJob"),
        ]  # fmt: skip

    assert secrets({}, template) == (
        SecretNeed("a", {"K": True, "O": False}, False, ()),
        SecretNeed("all", {}, True, ()),
        SecretNeed("tls", {"tls.crt": True}, False, ()),
    )


def test_a_secret_that_a_value_names_gets_ours_and_the_chart_makes_none() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        name = v["auth"]["existingSecret"] or "shop-auth"
        made = [] if v["auth"]["existingSecret"] else [{"kind": "Secret", "metadata": {"name": name}}]
        return [*made, pods("web", container("w:1", env=[env(name, "token")]))]

    found = secrets({"auth": {"existingSecret": "", "secretKey": "x"}}, template)
    assert found == (SecretNeed("shop-auth", {"token": True}, False, ("auth.existingSecret",), made=True),)


@pytest.mark.parametrize(("own", "names"), [("mine", ["mine-tls"]), ("", [])])
def test_a_secret_whose_name_a_template_adds_to_keeps_its_name(own: str, names: list[str]) -> None:
    found = secrets(
        {"secretName": own},
        lambda v: [pods("web", container("w:1", env=[env(f"{v['secretName']}-tls", "K")]))],
    )
    assert found == tuple(SecretNeed(name, {"K": True}, False, ()) for name in names)


def test_a_type_that_a_template_adds_to_is_passed_over() -> None:
    values = {f"part{at}": {"service": {"type": "ClusterIP"}} for at in range(3)}

    def template(v: Any) -> list[dict[str, Any]]:
        types = [(name, one["service"]["type"]) for name, one in v.items()]
        return [service(name, name, kind if kind in ("ClusterIP", "NodePort") else f"{kind}-y") for name, kind in types]

    found = read(chart(values), "shop", "shop", rendering(values, template)).exposed
    assert [one.service for one in found] == ["part0", "part1", "part2"]


def test_values_that_name_the_same_secret_belong_together() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        return [
            pods("web", container("w:1", env=[env(v["a"], "A")])),
            pods("x", container("w:1", env=[env(v["b"], "B")])),
        ]

    found = secrets({"a": "keys", "b": "keys", "c": "other"}, template)
    assert found == (SecretNeed("keys", {"A": True, "B": True}, False, ("a", "b")),)


def exposures(values: Values, template: Template) -> tuple[Exposed, ...]:
    return read(chart(values), "shop", "shop", rendering(values, template)).exposed


PROBED = container("w:1", readinessProbe={"httpGet": {"path": "/ready"}})


def test_services_that_are_exposed_come_with_what_their_pods_are_asked() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        ingress = {"kind": "Ingress", "metadata": {"name": "i"}, "spec": {"rules": [{"host": "shop.local"}, {}]}}
        web = service("web", "web", "NodePort", 30100)
        return [pods("web", PROBED), web, service("db", "db"), service("lb", "no", "LoadBalancer", ports=2), ingress]

    assert exposures({}, template) == (
        Exposed("web", None, 30100, "/ready"),
        Exposed("lb", "p0", None, ""),
        Exposed("", None, None, "/", host="shop.local"),
    )


def test_a_service_with_a_node_port_that_no_cluster_has_is_not_exposed() -> None:
    ports: list[Any] = [50000, "nil"]
    wrong = [service(f"s{number}", "web", "NodePort", port) for number, port in enumerate(ports)]
    wrong.append(service("gateway-", "web", "NodePort"))
    assert exposures({}, lambda v: [pods("web", PROBED), *wrong]) == ()


def test_a_value_that_would_expose_a_service_is_found() -> None:
    def template(v: Any) -> list[dict[str, Any]]:
        return [pods("web", PROBED), service("web", "web", v["service"]["type"]), service("up", "web", "NodePort")]

    found = exposures({"service": {"type": "ClusterIP"}, "type": "x"}, template)
    assert found == (Exposed("up", None, None, "/ready"), Exposed("web", None, None, "/ready", "service.type"))
