"""Charts in Python: what their templates would do with values, for what is read by rendering."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deployer.core.errors import input_error
from deployer.core.ports import Object
from deployer.init.model import FoundChart

Values = Mapping[str, Any]
Template = Callable[[Any], Sequence[Object]]
Render = Callable[[Values], Sequence[Object]]


def chart(values: Values, name: str = "shop", app_version: str = "") -> FoundChart:
    return FoundChart(f"deploy/{name}", name, app_version, values)


def over(base: Values, more: Values) -> dict[str, Any]:
    made = dict(base)
    for key, value in more.items():
        below = made.get(key)
        made[key] = over(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return made


def rendering(values: Values, template: Template) -> Callable[[Values], Sequence[Object]]:
    """The chart with other values over its own."""
    return lambda more: template(over(values, more))


class Counted:
    """A chart's rendering that counts how often it is asked for."""

    def __init__(self, values: Values, template: Template, render: Render | None = None) -> None:
        self.values, self.renders = values, 0
        self._render = render or rendering(values, template)

    def __call__(self, more: Values) -> Sequence[Object]:
        """The objects, once more."""
        self.renders += 1
        return self._render(more)


def pods(name: str, *containers: Object, kind: str = "Deployment", **pod: Any) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": list(containers), **pod}}
    return {"kind": kind, "metadata": {"name": name}, "spec": {"template": template}}


def container(image: str, name: str = "main", port: int | None = None, **more: Any) -> Object:
    ports = {"ports": [{"containerPort": port}]} if port else {}
    return {"name": name, "image": image, **ports, **more}


def service(name: str, app: str, kind: str = "ClusterIP", node_port: int | None = None, ports: int = 1) -> Object:
    listed: list[Object] = [{"name": f"p{number}", "port": 80 + number} for number in range(ports)]
    listed[0] |= {"nodePort": node_port} if node_port else {}
    return {"kind": "Service", "metadata": {"name": name},
            "spec": {"type": kind, "selector": {"app": app}, "ports": listed}}  # fmt: skip


def refused(*_: object, why: str = "image.tag is required") -> Sequence[Object]:
    raise input_error("CHART_VALUES", "the chart does not render", detail=f"Error: {why}")
