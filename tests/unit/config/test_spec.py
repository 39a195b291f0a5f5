from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from deployer.config.spec import Spec, mebibytes, seconds

LEAST: dict[str, Any] = {"apiVersion": "todo-deploy/v1", "application": "todo", "releases": {"app": {"chart": "chart"}}}


def spec(**more: Any) -> Spec:
    return Spec.model_validate({**LEAST, **more})


def refusal(**more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        spec(**more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90), ("5m", 300), ("250ms", 0.25), ("10", 10), ("1.5h", 5400), ("0", 0)]
)
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "-5s", "5 m", "5d", "1m30s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("8g", 8192), ("512Mi", 512), ("20gb", 20480), ("1024", 1024), ("1.5g", 1536), ("1t", 2**20)],
)
def test_sizes(text: str, value: int) -> None:
    assert mebibytes(text) == value


def test_the_least_spec_has_sensible_defaults() -> None:
    least = spec()
    assert (least.namespace, least.cluster.provider, least.env.files) == ("default", "minikube", (".env",))
    assert seconds(least.rollout.timeout) > seconds(least.rollout.hold) > 0


def test_names_are_as_long_as_helm_and_kubernetes_take_them() -> None:
    release = {"chart": "chart"}
    taken = spec(namespace="n" * 63, releases={"a." + "b" * 51: {**release, "namespace": "m" * 63}})
    assert taken.namespace == "n" * 63
    assert "at most 63" in refusal(namespace="n" * 64)
    assert "pattern" in refusal(namespace="a.b")
    assert "at most 53" in refusal(releases={"a." + "b" * 52: release})
    assert "pattern" in refusal(releases={"a..b": release})


def test_a_release_is_needed() -> None:
    assert "at least 1" in refusal(releases={})


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"images": {"a": {"repository": "a", "context": ".", "when": "x"}}}, "images.a.when: no switch `x`"),
        ({"secrets": {"s": {"keys": {"K": {}}, "when": "x"}}}, "secrets.s.when: no switch `x`"),
        ({"urls": {"u": {"service": "s", "when": "x"}}}, "urls.u.when: no switch `x`"),
        ({"releases": {"r": {"chart": "c", "images": {"i": {}}}}}, "releases.r.images: no image `i`"),
        ({"releases": {"r": {"chart": "c", "secrets": {"s": {}}}}}, "releases.r.secrets: no secret `s`"),
        ({"releases": {"r": {"chart": "c", "switches": {"x": ["a"]}}}}, "releases.r.switches: no switch `x`"),
        ({"releases": {"r": {"chart": "c", "needs": ["other"]}}}, "releases.r.needs: no release `other`"),
    ],
)
def test_every_name_has_to_resolve(part: dict[str, Any], named: str) -> None:
    assert named in refusal(**part)


def test_all_names_that_do_not_resolve_are_reported_together() -> None:
    message = refusal(releases={"r": {"chart": "c", "needs": ["one"], "images": {"two": {}}}})
    assert "`one`" in message and "`two`" in message


def test_releases_that_need_each_other_are_an_error_of_the_spec() -> None:
    charts = {"a": {"chart": "c", "needs": ["b"]}, "b": {"chart": "c", "needs": ["a"]}, "c": {"chart": "c"}}
    assert "need each other: a, b" in refusal(releases=charts)
    assert "need each other: a" in refusal(releases={"a": {"chart": "c", "needs": ["a"]}})


def test_a_chain_of_needs_is_no_circle() -> None:
    charts = {"a": {"chart": "c", "needs": ["b"]}, "b": {"chart": "c", "needs": ["c"]}, "c": {"chart": "c"}}
    assert list(spec(releases=charts).releases) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"cluster": {"provider": "context"}}, '"context"'),
        ({"cluster": {"context": "x"}}, '"context"'),
        ({"switches": {"x": {}}}, "exactly one"),
        ({"switches": {"x": {"whenSet": "A", "whenUnset": "B"}}}, "exactly one"),
        ({"urls": {"u": {}}}, "exactly one"),
        ({"urls": {"u": {"service": "s", "ingressHost": "h"}}}, "exactly one"),
        ({"urls": {"u": {"ingressHost": "h", "external": True}}}, "about a Service"),
    ],
)
def test_alternatives_exclude_each_other(part: dict[str, Any], named: str) -> None:
    assert named in refusal(**part)


@pytest.mark.parametrize(
    "part",
    [
        {"application": "Todo"},
        {"application": "a" * 54},
        {"images": {"a": {"repository": "a", "context": ".", "version": "1.0"}}},
        {"images": {"a": {"repository": "a", "context": ".", "version": 1.0}}},
        {"images": {"a": {"repository": "a:tag", "context": "."}}},
        {"secrets": {"s": {"keys": {}}}},
        {"secrets": {"s": {"keys": {"a key": {}}}}},
        {"urls": {"u": {"service": "s", "nodePort": 80}}},
        {"urls": {"u": {"service": "s", "path": "x"}}},
        {"cluster": {"kubernetesVersion": "1.34"}},
        {"cluster": {"cpus": 0}},
        {"rollout": {"hold": "soon"}},
        {"apiVersion": "todo-deploy/v2"},
        {"images": {"a": {"repository": "a", "context": ".", "dockerfile": "x" * 300}}},
        {"images": {"a": {"repository": "a", "context": "x/" * 2000}}},
        {"env": {"files": ["a\0b"]}},
        {"env": {"example": "\ud800"}},
    ],
)
def test_values_out_of_shape_are_refused(part: dict[str, Any]) -> None:
    assert "validation error" in refusal(**part)


def test_errors_never_show_what_was_written() -> None:
    assert "canary" not in refusal(secrets={"s": {"keys": {"K": {"length": "canary"}}}})


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        spec().namespace = "other"
