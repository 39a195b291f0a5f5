"""Rules on images: tags, pulling, architecture, and the values that name them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployer.plan import ImagePlan
from deployer.preflight.rules.model import Container, Place, Subject, Violation, rule
from deployer.sources.image_ref import parse_ref

_TAG = re.compile(r"\d+\.\d+\.\d+(-[0-9a-f]{7,40})?")


@rule("TAG_LATEST", "error", 'topology 000 Deployment (not "latest")', hint="use a tag of a version, such as 1.0.0")
def latest(subject: Subject) -> Iterator[Violation]:
    """Every image has a tag, and none is `latest`."""
    for one in subject.containers(init=True):
        tag = _tag(one.image)
        if tag is None:
            yield _about_tag(subject, one, "has no tag, which means `latest`")
        elif tag.lower() == "latest":
            yield _about_tag(subject, one, "has the tag `latest`: no rollback can name what ran")


@rule("TAG_FORM", "error", "topology 000 Container Image (X.Y.Z); topology 002 Validation Rules (X.Y.Z-commitHash)",
      hint="use the tag that is built: map the image in the spec")  # fmt: skip
def tag_form(subject: Subject) -> Iterator[Violation]:
    """Images of the spec have a tag X.Y.Z or X.Y.Z-<commit>."""
    for one in subject.containers(init=True):
        tag = _tag(one.image)
        if _planned(subject, one) and tag and tag.lower() != "latest" and not _TAG.fullmatch(tag):
            yield _about_tag(subject, one, "has a tag that is not X.Y.Z or X.Y.Z-<commit>")


@rule("TAG_NOT_BUILT", "error", "topology 002 Docker Image", hint="map the image to the chart's values in the spec")
def foreign_tag(subject: Subject) -> Iterator[Violation]:
    """Pods use the spec's images under the tags that are built."""
    refs = {image.ref for image in subject.plan.images}
    for one in subject.containers(init=True):
        image, tag = _planned(subject, one), _tag(one.image)
        if image is None or not tag or not _TAG.fullmatch(tag):  # another form is reported by its own rule
            continue
        if not any(one.image == ref or one.image.endswith(f"/{ref}") for ref in refs):
            yield _about_tag(subject, one, f"is not the one that is built: `{image.ref}`")


@rule("TAG_POLICY", "error", "topology 002 Validation Rules",
      hint="set the image's tagPolicy, or leave rules.tagPolicy out of the spec")  # fmt: skip
def tag_policy(subject: Subject) -> Iterator[Violation]:
    """Every image of the spec has the tag policy of rules.tagPolicy."""
    wanted = subject.loaded.spec.rules.tag_policy
    for name, image in subject.loaded.spec.images.items():
        if wanted is not None and image.tag_policy != wanted:
            yield Violation(
                f"image `{name}` has tag policy `{image.tag_policy}`; all must have `{wanted}` (rules.tagPolicy)",
                Place(object=f"image/{name}", spec=("images", name, "tagPolicy")),
            )


@rule("PULL_ALWAYS", "error", "topology 003 Deployment Constraints (IfNotPresent)")
def pull_always(subject: Subject) -> Iterator[Violation]:
    """No image that is built here is pulled at every start."""
    for one in _always_pulled(subject):
        if _planned(subject, one):
            text = f"pulls `{one.image}` at every start, and no registry has it: it is built here"
            yield one.violation(text, "image", "pullPolicy", hint="pullPolicy: IfNotPresent")


@rule("PULL_ALWAYS_FOREIGN", "warning", "topology 003 Deployment Constraints (IfNotPresent)")
def pull_always_foreign(subject: Subject) -> Iterator[Violation]:
    """No other image is pulled at every start."""
    for one in _always_pulled(subject):
        if not _planned(subject, one):
            text = f"pulls `{one.image}` at every start, which fails without a network"
            yield one.violation(text, "image", "pullPolicy", hint="pullPolicy: IfNotPresent")


@rule("IMAGE_ARCHITECTURE", "error", "Kubernetes docs, Nodes")
def architecture(subject: Subject) -> Iterator[Violation]:
    """Images and base images in the node's daemon are made for the node's processors."""
    if subject.cluster is None or not subject.cluster.architectures:
        return
    for ref, made_for in sorted(subject.cluster.image_architectures.items()):
        if made_for and made_for not in subject.cluster.architectures:
            nodes = ", ".join(sorted(subject.cluster.architectures))
            yield Violation(
                f"image `{ref}` is made for {made_for}, the node is {nodes}: `exec format error` would follow",
                _image_place(subject, ref),
                hints=(f"get the image for linux/{nodes}",),
            )


@rule("VALUE_UNUSED", "error", "topology 001 Values Configuration")
def unused_values(subject: Subject) -> Iterator[Violation]:
    """Every value that the spec hands to a chart is used by a template."""
    for one in subject.releases:
        for location, path in one.unused:
            yield Violation(
                f"release `{one.release.name}`: no template uses the value `{path}`",
                Place(one.release.name, spec=location),
                "what it maps has no effect: the chart renders the same with another value there",
                (f"look for the value's path in {subject.loaded.spec.releases[one.release.name].chart}/values.yaml",),
            )


def _tag(image: str) -> str | None:
    """The tag; empty for an image named by its digest, None where there is none."""
    ref = parse_ref(image)
    return "" if ref.digest else ref.tag or None


def _planned(subject: Subject, one: Container) -> ImagePlan | None:
    """The image of the plan that the container uses, whatever its registry is."""
    name, images = parse_ref(one.image).name, subject.plan.images
    return next((it for it in images if name == it.repository or name.endswith(f"/{it.repository}")), None)


def _always_pulled(subject: Subject) -> Iterator[Container]:
    for one in subject.containers(init=True):
        if one.body.get("imagePullPolicy") == "Always":
            yield one


def _about_tag(subject: Subject, one: Container, text: str) -> Violation:
    """Something wrong with the tag, with the way to map that of an image of the spec into the chart."""
    image = _planned(subject, one)
    place = f"releases.{one.workload.release.name}.images.{image.name}" if image is not None else ""
    hint = f"map the image to the chart's values: {place} in the spec" if place else ""
    return one.violation(f"image `{one.image}` {text}", "image", "tag", hint=hint)


def _image_place(subject: Subject, ref: str) -> Place:
    for name, image in subject.loaded.spec.images.items():
        if ref in image.bases.values():
            return Place(spec=("images", name, "bases"))
    return Place(spec=("images",))
