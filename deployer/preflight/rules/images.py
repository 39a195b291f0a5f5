"""Rules on images: tags, pulling, architecture, and the values that name them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from deployer.core.ports import Object
from deployer.preflight.rules.model import Breach, Place, Rule, Subject, Workload, place_of
from deployer.sources.image_ref import parse_ref

_TAG = re.compile(r"\d+\.\d+\.\d+(-[0-9a-f]{7,40})?")


def latest(subject: Subject) -> Iterator[Breach]:
    """Images named by `latest`, or by no tag at all."""
    for workload, container, image in _images(subject):
        tag = _tag(image)
        if tag is None:
            told = f"image `{image}` has no tag, which means `latest`"
            yield _breach(workload, container, told, _mapping(subject, workload, image))
        elif tag.lower() == "latest":
            told = f"image `{image}` is `latest`: a rollback could not name what ran"
            yield _breach(workload, container, told, _mapping(subject, workload, image))


def tag_form(subject: Subject) -> Iterator[Breach]:
    """Images of the spec under a tag that is not X.Y.Z or X.Y.Z-<hexadecimal digits>."""
    ours = {image.repository for image in subject.plan.images}
    for workload, container, image in _images(subject):
        tag = _tag(image)
        if _repository(image, ours) and tag and tag.lower() != "latest" and not _TAG.fullmatch(tag):
            told = f"image `{image}`: the tag is not X.Y.Z or X.Y.Z-<commit>"
            yield _breach(workload, container, told, _mapping(subject, workload, image))


def foreign_tag(subject: Subject) -> Iterator[Breach]:
    """Pods that use an image of the spec under a tag that this run does not build."""
    built = {image.repository: image for image in subject.plan.images}
    refs = {image.ref for image in subject.plan.images}
    for workload, container, image in _images(subject):
        name, tag = _repository(image, built), _tag(image)
        if not name or not tag or not _TAG.fullmatch(tag):  # the latter is told by its own rule
            continue
        if not any(image == ref or image.endswith(f"/{ref}") for ref in refs):
            told = f"image `{image}` is not what is built: `{built[name].ref}`"
            yield _breach(workload, container, told, _mapping(subject, workload, image))


def tag_policy(subject: Subject) -> Iterator[Breach]:
    """Images of the spec that have another policy than the one that all must have."""
    wanted = subject.loaded.spec.rules.tag_policy
    for name, image in subject.loaded.spec.images.items():
        if wanted is not None and image.tag_policy != wanted:
            yield Breach(
                f"image `{name}` has tag policy `{image.tag_policy}`; all must have `{wanted}` (rules.tagPolicy)",
                Place(object=f"image/{name}", spec=("images", name, "tagPolicy")),
            )


def pull_always(subject: Subject) -> Iterator[Breach]:
    """Images of the spec that Kubernetes would ask a registry for at every start."""
    ours = {image.repository for image in subject.plan.images}
    for workload, container, image in _images(subject):
        if container.get("imagePullPolicy") == "Always" and _repository(image, ours):
            told = f"pulls `{image}` at every start, and no registry has it: it is built here"
            yield _breach(workload, container, told, "pullPolicy: IfNotPresent", "pullPolicy")


def pull_always_foreign(subject: Subject) -> Iterator[Breach]:
    """Other images that are asked for at every start, which fails without a network."""
    ours = {image.repository for image in subject.plan.images}
    for workload, container, image in _images(subject):
        if container.get("imagePullPolicy") == "Always" and not _repository(image, ours):
            yield _breach(workload, container, f"pulls `{image}` at every start", "pullPolicy: IfNotPresent")


def architecture(subject: Subject) -> Iterator[Breach]:
    """Images that are in the node's daemon and made for other processors."""
    if subject.cluster is None or not subject.cluster.architectures:
        return
    for ref, made_for in sorted(subject.cluster.image_architectures.items()):
        if made_for and made_for not in subject.cluster.architectures:
            nodes = ", ".join(sorted(subject.cluster.architectures))
            yield Breach(
                f"image `{ref}` is made for {made_for}, the node is {nodes}: `exec format error` would follow",
                _image_place(subject, ref),
                hints=(f"get the image for linux/{nodes}",),
            )


def unused_values(subject: Subject) -> Iterator[Breach]:
    """Values that the spec hands over and that change nothing of what the chart renders."""
    for one in subject.releases:
        for location, path in one.unused:
            yield Breach(
                f"release `{one.release.name}`: no template uses the value `{path}`",
                Place(one.release.name, spec=location),
                "what it maps has no effect: the chart renders the same with another value there",
                (f"look for the value's path in {subject.loaded.spec.releases[one.release.name].chart}/values.yaml",),
            )


def _images(subject: Subject) -> Iterator[tuple[Workload, Object, str]]:
    for workload in subject.workloads():
        for container in workload.containers(init=True):
            yield workload, container, str(container.get("image") or "")


def _tag(image: str) -> str | None:
    """The tag; empty for an image named by its digest, None where there is none."""
    ref = parse_ref(image)
    return "" if ref.digest else ref.tag or None


def _repository(image: str, known: Collection[str]) -> str:
    """Which of the known repositories the image is of, whatever registry is before it."""
    name = parse_ref(image).name
    return next((one for one in known if name == one or name.endswith(f"/{one}")), "")


def _mapping(subject: Subject, workload: Workload, image: str) -> str:
    """How an image of the spec gets its tag into the chart; nothing for others."""
    name = _repository(image, {one.repository for one in subject.plan.images})
    ours = next((one.name for one in subject.plan.images if one.repository == name), "")
    return f"map it to the chart's values: releases.{workload.release}.images.{ours} in the spec" if ours else ""


def _image_place(subject: Subject, ref: str) -> Place:
    for name, image in subject.loaded.spec.images.items():
        if ref in image.bases.values():
            return Place(spec=("images", name, "bases"))
    return Place(spec=("images",))


def _breach(workload: Workload, container: Object, told: str, hint: str = "", field: str = "tag") -> Breach:
    name = str(container.get("name") or "")
    who = workload.label if name == workload.name else f"{workload.label}, container `{name}`"
    place = place_of(workload.release, workload.body, "image", field)
    return Breach(f"{who}: {told}", place, hints=(hint,) if hint else ())


RULES = (
    Rule("TAG_LATEST", "S0 Deployment (not \"latest\")", "error",
         "No image is named by `latest` or without a tag.", latest),
    Rule("TAG_FORM", "S0 Container Image (X.Y.Z); S2 Validation Rules (X.Y.Z-commitHash)", "error",
         "Images of the spec have a tag X.Y.Z or X.Y.Z-<commit>.", tag_form),
    Rule("TAG_NOT_BUILT", "S2 Docker Image", "error",
         "Pods use the spec's images under the tags that are built.", foreign_tag),
    Rule("TAG_POLICY", "S2 Validation Rules", "error",
         "Every image has the tag policy that rules.tagPolicy names.", tag_policy),
    Rule("PULL_ALWAYS", "S3 Deployment Constraints (IfNotPresent)", "error",
         "No image that is built here is pulled at every start.", pull_always),
    Rule("PULL_ALWAYS_FOREIGN", "S3 Deployment Constraints (IfNotPresent)", "warning",
         "No other image is pulled at every start.", pull_always_foreign),
    Rule("IMAGE_ARCHITECTURE", "Kubernetes docs, Nodes", "error",
         "Images and base images in the node's daemon are made for the node's processors.", architecture),
    Rule("VALUE_UNUSED", "S1 Values Configuration", "error",
         "Every value that the spec hands to a chart is used by a template.", unused_values),
)  # fmt: skip
