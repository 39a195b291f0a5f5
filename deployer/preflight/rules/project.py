"""Rules on the project and the machine: env files, build contexts, public URLs, disk."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace

from deployer.config.load import chart_folder
from deployer.config.spec import mebibytes
from deployer.core.image_ref import is_reference, parse_ref
from deployer.core.ports import KINDS, ObjectRef, ref_of
from deployer.core.values import mapped
from deployer.core.yaml import Location
from deployer.helm.dry_run import is_hook
from deployer.helm.storage import MOST_BYTES
from deployer.plan import ImagePlan, ReleasePlan
from deployer.preflight.rules.model import Container, Place, Severity, Subject, Violation, definitions, rule
from deployer.sources import dotenv
from deployer.sources.dockerfile import instructions

# What every cluster has (Kubernetes docs, Namespaces).
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_LARGE_CONTEXT = 200 * 2**20
_SEMVER = re.compile(r"v?\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


@rule("NAMESPACE", "policy", "topology 002 Validation Rules (everything in `todo`)",
      hint="leave metadata.namespace out of the template")  # fmt: skip
def one_namespace(subject: Subject) -> Iterator[Violation]:
    """With rules.layout.namespaces: one, everything is in the spec's namespace."""
    spec = subject.loaded.spec
    if spec.rules.layout.namespaces != "one":
        return
    places = [(one.label, one.namespace, one.place()) for one in subject.objects()]
    places += [
        (f"secret `{one.name}`", one.namespace, Place(spec=("secrets", one.name, "namespace")))
        for one in subject.plan.secrets
    ]
    for label, namespace, place in places:
        if namespace != spec.namespace:
            yield Violation(f"{label} is in namespace `{namespace}`, not in `{spec.namespace}`", place)


@rule("NAMESPACE_UNKNOWN", "certain", "Kubernetes docs, Namespaces",
      hint="leave metadata.namespace out of the template, or make it the namespace of a release")  # fmt: skip
def unknown_namespace(subject: Subject) -> Iterator[Violation]:
    """Every object of a namespace is in one that exists or is made."""
    known = {*subject.plan.namespaces, *_NAMESPACES, *(one.name for one in subject.objects("Namespace"))}
    there = subject.cluster.namespaces if subject.cluster is not None else None
    known |= there or frozenset()
    doubt: Severity | None = None if subject.sees_cluster and there is not None else "warning"
    by_charts: frozenset[tuple[str, str]] = frozenset()
    by_charts = by_charts.union(*(one.brings | definitions(one.objects) for one in subject.releases))
    if subject.cluster is not None:  # what only a chart defines may be of the whole cluster too
        by_charts = by_charts - (subject.cluster.kinds or frozenset()) | subject.cluster.unspaced
    for one in subject.objects():
        wide = one.kind in KINDS and not KINDS[one.kind].namespaced
        wide |= (str(one.body.get("apiVersion")), one.kind) in by_charts
        if one.namespace not in known and not wide:
            known.add(one.namespace)
            title = f"{one.label} is in namespace `{one.namespace}`, which neither the spec nor a chart makes"
            yield Violation(title, one.place(), severity=doubt)


@rule("KIND_UNKNOWN", "certain", "Helm docs, Custom Resource Definitions; Kubernetes docs, Deprecation Policy",
      hint="install what defines the kind, or choose values that leave the object out")  # fmt: skip
def unknown_kinds(subject: Subject) -> Iterator[Violation]:
    """The cluster serves the kind and API version of every object, or Helm defines it before."""
    served = subject.cluster.kinds if subject.cluster is not None else None
    if not served:
        return
    by_release = {one.release.name: one.brings | definitions(one.objects) for one in subject.releases}
    seen = set()
    for one in subject.objects():
        wanted = (str(one.body.get("apiVersion") or ""), one.kind)
        own = next(each for each in subject.releases if each.release is one.release)
        before = frozenset().union(*(by_release.get(need, frozenset()) for need in _before(subject, one.release)))
        if not wanted[0] or wanted in served | own.brings | before or (one.release.name, wanted) in seen:
            continue
        seen.add((one.release.name, wanted))
        others = sorted(api for api, kind in served if kind == one.kind)
        hints = (f"the cluster has it as {', '.join(others)}",) if others else ()
        if wanted in own.withheld:
            chart = subject.loaded.spec.releases[one.release.name].chart
            why = "Helm applies the chart's folder `crds` at the first install alone"
            hints = (f"helm show crds {chart} | kubectl apply --server-side -f -, then: todo-deploy up ({why})",)
        if wanted in by_release[one.release.name]:
            hints = ("move its definition from templates to the chart's folder `crds`, which Helm applies first",)
        title = f"{one.label}: the cluster has no kind `{one.kind}` in `{wanted[0]}`"
        # Another release, its operator or an addon may bring it while `up` is at work.
        by_addon = one.kind in KINDS and KINDS[one.kind].group == wanted[0].rpartition("/")[0]
        may_come = len(subject.releases) > 1 or bool(subject.unrendered) or by_addon
        yield Violation(title, one.place(), "", hints, "warning" if may_come and not others else None)


def _before(subject: Subject, release: ReleasePlan) -> Iterator[str]:
    """The releases that are there when the release is installed."""
    plans = {one.name: one for one in subject.plan.releases}
    left, seen = [*release.needs], set[str]()
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += plans[name].needs if name in plans else ()
            yield name


@rule("OBJECT_TWICE", "certain", "Helm docs, Helm Upgrade (ownership of resources)",
      hint="let one of them make it, or give it another name in one of them")  # fmt: skip
def made_twice(subject: Subject) -> Iterator[Violation]:
    """No two releases make the same object, and none makes a Secret of the spec."""
    makers: dict[ObjectRef, dict[Location, tuple[str, str]]] = {
        ObjectRef("Secret", one.namespace, name): {("secrets", one.name): (f"`secrets.{one.name}` of the spec", "")}
        for one in subject.plan.secrets
        for name in (one.stable, one.copy)
        if name
    }
    for one in subject.objects():
        if one.name and not is_hook(one.body):
            place = "" if one.kind in KINDS and not KINDS[one.kind].namespaced else one.namespace
            ref = replace(ref_of(one.body, one.namespace), namespace=place)
            release = one.release.name
            makers.setdefault(ref, {})["releases", release, "chart"] = (f"release `{release}`", release)
    for ref, found in makers.items():
        for at, (who, release) in found.items() if len(found) > 1 else ():
            also = " and ".join(other for place, (other, _) in found.items() if place != at)
            label = f"{ref.kind.lower()}/{ref.name}"
            yield Violation(f"{who} makes {label}, and so does {also}", Place(release, label, spec=at))


@rule("RELEASE_SIZE", "certain", "Kubernetes docs, Secrets (Restriction on data size); Helm docs, Storage backends",
      hint="name in .helmignore what no template reads, or make two releases of it")  # fmt: skip
def release_sizes(subject: Subject) -> Iterator[Violation]:
    """Helm can store each release, chart and manifests packed, in one Secret."""
    for one in subject.releases:
        # Go packs a little better or worse than Python.
        if one.size > MOST_BYTES * 1.05:
            title = f"release `{one.release.name}` is too large for Helm: {_amount(one.size)}, and a Secret holds 1 MiB"
            biggest = sorted(((path.stat().st_size, path) for path in one.release.chart.rglob("*") if path.is_file()),
                             reverse=True)[:3]  # fmt: skip
            files = ", ".join(f"{path.relative_to(one.release.chart)} ({_amount(size)})" for size, path in biggest)
            detail = f"the biggest files of the chart: {files}" if files else ""
            yield Violation(title, Place(one.release.name, spec=("releases", one.release.name, "chart")), detail)


@rule("COMPONENT_PREFIX", "policy", "topology 003 ConfigMap/Secret Constraints (Naming)",
      hint="rename the object, or leave rules.layout.names out of the spec")  # fmt: skip
def component_prefix(subject: Subject) -> Iterator[Violation]:
    """With rules.layout.names: component, names begin with their component."""
    if subject.loaded.spec.rules.layout.names != "component":
        return
    for one in subject.objects():
        component = one.labels.get("app")
        if component and one.name != component and not one.name.startswith(f"{component}-"):
            title = f"{one.label} has the label app={component}, and its name does not begin with `{component}-`"
            yield Violation(title, one.place("name"))


@rule("LABELS", "policy", "topology 003 Resource Definitions (app, tier, phase)",
      hint="add the label in the template, or leave it out of rules.layout.labels")  # fmt: skip
def labels(subject: Subject) -> Iterator[Violation]:
    """With rules.layout.labels, every workload has these labels."""
    for workload in subject.workloads():
        absent = [label for label in subject.loaded.spec.rules.layout.labels if label not in workload.labels]
        if absent and workload.runs_on:
            title = f"{workload.label} has no label {', '.join(f'`{label}`' for label in absent)}"
            yield Violation(title, workload.place("labels"))


@rule(
    "CHART_VERSION", "policy", "topology 000 Helm Chart; topology 001 Helm Chart", hint="version: 0.1.0 in Chart.yaml"
)
def chart_version(subject: Subject) -> Iterator[Violation]:
    """The version of charts is a semantic version."""
    yield from _no_version(subject, "version")


@rule("CHART_APP_VERSION", "advice", "topology 000 Helm Chart; topology 001 Helm Chart",
      hint='appVersion: "1.0.0" in Chart.yaml')  # fmt: skip
def chart_app_version(subject: Subject) -> Iterator[Violation]:
    """The appVersion of charts, where they have one, is a semantic version."""
    yield from _no_version(subject, "appVersion")


@rule("CHART_MAINTAINERS", "policy", "topology 001 Helm Chart", hint="add maintainers: [{name: …}] to Chart.yaml")
def chart_maintainers(subject: Subject) -> Iterator[Violation]:
    """Charts name their maintainers."""
    for one in subject.releases:
        if one.chart and not one.chart.get("maintainers"):
            title = f"the chart of release `{one.release.name}` has no maintainers"
            yield Violation(title, _chart(subject, one.release.name))


def _no_version(subject: Subject, field: str) -> Iterator[Violation]:
    for one in subject.releases:
        value = one.chart.get(field)
        if one.chart and (value is not None or field == "version") and not _SEMVER.fullmatch(str(value)):
            what = f"{field} `{value}` is not X.Y.Z" if value is not None else f"{field} is missing"
            yield Violation(f"the chart of release `{one.release.name}`: {what}", _chart(subject, one.release.name))


def _chart(subject: Subject, release: str) -> Place:
    if subject.loaded.spec.releases[release].is_remote:
        return Place(release, spec=("releases", release, "chart"))
    # The plan's is a staged copy.
    chart = chart_folder(subject.loaded.root, subject.loaded.spec.releases[release].chart)
    return Place(release, where=subject.loaded.shown(chart / "Chart.yaml"))


_TAG = re.compile(r"\d+\.\d+\.\d+(-[0-9a-f]{7,40})?")


@rule("TAG_LATEST", "policy", 'topology 000 Deployment (not "latest")', hint="use a tag of a version, such as 1.0.0")
def latest(subject: Subject) -> Iterator[Violation]:
    """Every image has a tag, and none is `latest`."""
    for one in subject.containers(init=True):
        tag = _tag(one.image)
        if tag is None:
            yield _about_tag(subject, one, "has no tag, which means `latest`")
        elif tag.lower() == "latest":
            yield _about_tag(subject, one, "has the tag `latest`: no rollback can name what ran")


@rule("TAG_FORM", "policy", "topology 000 Container Image (X.Y.Z); topology 002 Validation Rules (X.Y.Z-commitHash)",
      hint="use the tag that is built: map the image in the spec")  # fmt: skip
def tag_form(subject: Subject) -> Iterator[Violation]:
    """Images of the spec have a tag X.Y.Z or X.Y.Z-<commit>."""
    for one in subject.containers(init=True):
        tag = _tag(one.image)
        if _planned(subject, one) and tag and tag.lower() != "latest" and not _TAG.fullmatch(tag):
            yield _about_tag(subject, one, "has a tag that is not X.Y.Z or X.Y.Z-<commit>")


@rule("TAG_NOT_BUILT", "policy", "topology 002 Docker Image", hint="map the image to the chart's values in the spec")
def foreign_tag(subject: Subject) -> Iterator[Violation]:
    """Pods use the spec's images under the tags that are built."""
    refs = {image.ref for image in subject.plan.images}
    for one in subject.containers(init=True):
        image, tag = _planned(subject, one), _tag(one.image)
        if image is None or not tag or not _TAG.fullmatch(tag):  # another form is reported by its own rule
            continue
        if not any(one.image == ref or one.image.endswith(f"/{ref}") for ref in refs):
            yield _about_tag(subject, one, f"is not the one that is built: `{image.ref}`")


@rule("TAG_POLICY", "policy", "topology 002 Validation Rules",
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


# What installs the packages that a file of the project lists; `pip install NAME` needs none of its files.
_INSTALLS = re.compile(
    r"\bpip3? install [^&;|]*-r\b|\b(?:npm|pnpm|yarn|bun) (?:ci|install|i)\b"
    r"|\b(?:poetry|bundle|composer|pipenv) install\b|\buv sync\b|\bgo mod download\b|\bcargo fetch\b|\bdotnet restore\b"
)


@rule("SOURCES_BEFORE_INSTALL", "advice", "Docker docs, Optimize cache usage in builds (order your layers)",
      hint="copy the file that lists the packages, install them, and copy the sources then")  # fmt: skip
def sources_before_install(subject: Subject) -> Iterator[Violation]:
    """Packages are installed before all sources are copied: a changed source does not install them again."""
    for image in subject.plan.images:
        if not image.dockerfile.is_file():
            continue
        copied = 0
        for one in instructions(image.dockerfile.read_text(encoding="utf-8", errors="replace")):
            words = one.words
            if one.word == "FROM":
                copied = 0
            elif one.word in ("COPY", "ADD") and "--from=" not in one.rest and {".", "./"} & {*words[:-1]}:
                copied = copied or one.first + 1
            elif one.word == "RUN" and copied and _INSTALLS.search(one.rest):
                title = f"image `{image.name}` installs its packages again for every change of a source"
                shown = os.path.relpath(image.dockerfile, subject.loaded.root)
                yield Violation(title, Place(where=f"{shown}:{copied}"))
                break


@rule("PULL_ALWAYS", "certain", "topology 003 Deployment Constraints (IfNotPresent)")
def pull_always(subject: Subject) -> Iterator[Violation]:
    """No image that is built here, and that no registry has, is pulled at every start."""
    for one in _always_pulled(subject):
        image = _planned(subject, one)
        if image is not None and not parse_ref(image.repository).registry:
            text = f"pulls `{one.image}` at every start, and no registry has it: it is built here"
            doubt: Severity | None = None if one.workload.starts else "warning"
            yield one.violation(text, "image", "pullPolicy", hint="pullPolicy: IfNotPresent", severity=doubt)


@rule("PULL_ALWAYS_FOREIGN", "advice", "topology 003 Deployment Constraints (IfNotPresent)")
def pull_always_foreign(subject: Subject) -> Iterator[Violation]:
    """No other image is pulled at every start."""
    for one in _always_pulled(subject):
        if not _planned(subject, one):
            text = f"pulls `{one.image}` at every start, which fails without a network"
            yield one.violation(text, "image", "pullPolicy", hint="pullPolicy: IfNotPresent")


@rule("IMAGE_ARCHITECTURE", "policy", "Kubernetes docs, Nodes")
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


@rule("VALUE_UNUSED", "certain", "topology 001 Values Configuration")
def unused_values(subject: Subject) -> Iterator[Violation]:
    """Every value that the spec hands to a chart is used by a template."""
    for one in subject.releases:
        misled = {wrong.location[:4] for wrong in one.not_built}  # what is unused there, such as a tag, follows from it
        for location, path in one.unused:
            if location[:4] in misled:
                continue
            yield Violation(
                f"release `{one.release.name}`: no template uses the value `{path}`",
                Place(one.release.name, spec=location),
                "what it maps has no effect: the chart renders the same with another value there",
                (f"look for the value's path in {subject.loaded.spec.releases[one.release.name].chart}/values.yaml",),
            )


@rule("IMAGE_NOT_BUILT", "certain", "Kubernetes docs, Images")
def not_built(subject: Subject) -> Iterator[Violation]:
    """What the spec maps into a chart leads pods to images that are built."""
    for one in (found for release in subject.releases for found in release.not_built):
        ref, built, path = parse_ref(one.image), parse_ref(one.built), one.location[-1]
        if ref.digest:
            hint = "map the value of the digest too, to an empty text: it wins over the tag"
        elif ref.registry and ref.short.endswith(f"/{built.short}"):
            hint = 'map the value of the registry too: "{registry}"'
        elif ref.tag != built.tag:
            hint = 'map the value of the tag too: "{tag}"'
        else:
            hint = f'map the value of the name too: "{{repository}}"; or set images.{one.location[3]}.repository'
        yield Violation(
            f"the mapping of image `{one.location[3]}` makes {one.workload} use `{one.image}`, which is not built",
            Place(str(one.location[1]), one.workload, spec=one.location),
            f"`{path}` is part of its name; what is built is `{one.built}`",
            (hint,),
        )


@rule("IMAGE_NAME", "certain", "Kubernetes docs, Images (Image names); Docker docs, docker image tag",
      hint="look at how the chart puts registry, name and tag together")  # fmt: skip
def image_names(subject: Subject) -> Iterator[Violation]:
    """The text in `image:` is the name of an image."""
    known = {one.image for release in subject.releases for one in release.not_built} | {""}
    for one in subject.containers(init=True):
        if one.image not in known and not is_reference(one.image):
            doubt: Severity | None = None if one.workload.starts else "warning"
            yield one.violation(f"`{one.image}` is not the name of an image", "image", severity=doubt)


@rule("IMAGE_UNREACHABLE", "certain", "Kubernetes docs, Images (ImagePullBackOff)")
def unreachable(subject: Subject) -> Iterator[Violation]:
    """Images that are not built here are in the cluster and not pulled at each start, or their registry answers."""
    known = {one.image for release in subject.releases for one in release.not_built}
    for one in subject.containers(init=True):
        registry = subject.machine.undeliverable.get(one.image)
        if registry is not None and one.workload.starts and is_reference(one.image) and one.image not in known:
            known.add(one.image)
            why = "is pulled at each start" if one.is_pulled_always else "is not in the cluster"
            text = f"`{one.image}` {why}, and {registry} does not answer from this machine"
            load = f"minikube -p {subject.loaded.spec.cluster.name} image load FILE, with a file of `docker save`"
            also = "pullPolicy: IfNotPresent; " if one.is_pulled_always else ""
            yield one.violation(text, "image", hint=f"{also}map the image to one that is built here, or: {load}")


def _tag(image: str) -> str | None:
    """The tag; empty for an image named by its digest, None where there is none."""
    ref = parse_ref(image)
    return "" if ref.digest else ref.tag or None


def _planned(subject: Subject, one: Container) -> ImagePlan | None:
    """The image of the plan that the container uses; behind a registry it is known by the tag that is built."""
    ref, images = parse_ref(one.image), subject.plan.images
    found = (it for it in images if ref.name == it.repository or
             (ref.tag == it.tag and ref.name.endswith(f"/{it.repository}")))  # fmt: skip
    return next(found, None)


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


_PUBLIC = re.compile(r"(NEXT_PUBLIC|VITE|REACT_APP|PUBLIC|NUXT_PUBLIC)_\w+")


@rule("ENV_TRACKED", "policy", "topology 000 Secret (not in version control); topology 003 Security",
      hint="git rm --cached FILE, then rotate its secrets")  # fmt: skip
def env_tracked(subject: Subject) -> Iterator[Violation]:
    """git does not track the env files."""
    yield from _found(subject, "ENV_TRACKED")


@rule("ENV_READABLE", "advice", "topology 000 Secret (access restricted)", hint="chmod 600 FILE")
def env_readable(subject: Subject) -> Iterator[Violation]:
    """Nobody but their owner can read the env files."""
    yield from _found(subject, "ENV_READABLE")


@rule("ENV_LINES", "advice", "Docker Compose docs, Env file syntax", hint="write KEY=value, or KEY='value'")
def env_lines(subject: Subject) -> Iterator[Violation]:
    """Each line of the env files is a variable, with the value that it seems to have."""
    yield from _found(subject, "ENV_LINES")


@rule("ENV_IN_CONTEXT", "certain", "topology 000 Secret; Docker docs, Build context")
def env_in_context(subject: Subject) -> Iterator[Violation]:
    """No env file with secrets is in a build context; public build settings may be."""
    for image in subject.plan.images:
        for leak in subject.machine.env_leaks.get(image.name, ()):
            context = subject.loaded.spec.images[image.name].context
            yield Violation(
                f"the build context of image `{image.name}` contains `{leak.path}`: its secrets would be in the image",
                Place(object=f"image/{image.name}", spec=("images", image.name, "context")),
                leak.why,
                (f"add a line `{leak.path}` to {context}/.dockerignore, then: todo-deploy validate",),
                None if leak.certain else "warning",
            )


@rule("VALUE_REFERENCE", "advice", "Docker Compose docs, Interpolation",
      hint="write the value itself, or set `env.expand: true` in the spec")  # fmt: skip
def references(subject: Subject) -> Iterator[Violation]:
    """No value of a release is the name of a variable that an env file sets: nothing is filled in there."""
    found: list[Violation] = []

    def look(text: str, at: Location) -> str:
        if any(name in subject.env for name in dotenv.references(text)):
            title = f"{'.'.join(map(str, at))} refers to a variable of the env file, and nothing is filled in"
            found.append(Violation(title, Place(spec=at)))
        return text

    for name, release in subject.loaded.spec.releases.items():
        if not subject.loaded.spec.env.expand:
            mapped(release.values, look, ("releases", name, "values"))
    yield from found


@rule("CONTEXT_SHIPS", "advice", "Docker docs, Build context", hint="name them in .dockerignore")
def context_ships(subject: Subject) -> Iterator[Violation]:
    """No image copies Git's folder, the spec or a chart: its tag would change with each of them."""
    yield from _found(subject, "CONTEXT_SHIPS")


@rule("ENV_IN_CHART", "advice", "Helm docs, The .helmignore file", hint="name them in .helmignore")
def env_in_chart(subject: Subject) -> Iterator[Violation]:
    """No env file with secrets is among the files of a chart, which helm stores in the cluster."""
    yield from _found(subject, "ENV_IN_CHART")


@rule("LINE_ENDS", "advice", "execve(2), Interpreter scripts", hint="save it with LF line ends")
def line_ends(subject: Subject) -> Iterator[Violation]:
    """The `#!` line of the script that an image starts ends with LF: with CRLF its interpreter is not found."""
    yield from _found(subject, "LINE_ENDS")


@rule("PUBLIC_URL", "advice", "topology 001 Environment Variables; topology 003 ConfigMaps",
      hint="use an address of urls in the spec, or a path of the frontend's own origin")  # fmt: skip
def public_urls(subject: Subject) -> Iterator[Violation]:
    """Addresses built into frontends (NEXT_PUBLIC_*, VITE_*) are ones that browsers can reach."""
    served = {f"{url.node_port}" for url in subject.loaded.spec.urls.values() if url.node_port is not None}
    hosts = {url.ingress_host for url in subject.plan.urls if url.ingress_host}
    services = {one.name for one in subject.objects("Service")}
    for image in subject.plan.images:
        for key, value, place in _built_in(subject, image):
            if not _PUBLIC.fullmatch(key) or "://" not in value:
                continue
            try:
                parts = urllib.parse.urlsplit(value)
                host, port = parts.hostname or "", parts.port
            except ValueError:
                host, port = "", None
            if host.split(".")[0] in services or host.endswith((".svc", ".cluster.local")):
                title = f"image `{image.name}`: {key} is `{value}`, a name that browsers do not know"
                yield Violation(
                    title, place, hints=("let browsers call a path of the frontend's own origin, such as /api",)
                )
            elif host not in hosts and f"{port or ''}" not in served:
                what = ", ".join(sorted([*hosts, *(f":{one}" for one in served)])) or "none with a fixed port"
                yield Violation(f"image `{image.name}`: {key} is `{value}`, which is no address that is served", place,
                             f"served are: {what}")  # fmt: skip


def _built_in(subject: Subject, image: ImagePlan) -> Iterator[tuple[str, str, Place]]:
    """The variables that a build sees: build arguments, and what the Dockerfile declares beside them."""
    for key, value in image.args.items():
        yield key, value, Place(spec=("images", image.name, "args", key))
    for key, value, where in subject.machine.declared.get(image.name, ()):
        if key not in image.args:
            yield key, value, Place(where=where)


@rule("CONTEXT_SIZE", "advice", "Docker docs, Build context", hint="list what the build does not need in .dockerignore")
def contexts(subject: Subject) -> Iterator[Violation]:
    """The size of each build context is shown with its biggest entries; it is advice above 200 MiB."""
    for name, (size, biggest) in subject.machine.contexts.items():
        entries = ", ".join(f"{path} ({_amount(number)})" for path, number in biggest)
        yield Violation(f"image `{name}`: its build context has {_amount(size)}",
                     Place(spec=("images", name, "context")), f"biggest: {entries}" if entries else "",
                     severity="note" if size <= _LARGE_CONTEXT else None)  # fmt: skip


def _amount(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"


@rule("DISK_FREE", "policy", "topology 000 PersistentVolumeClaim; Kubernetes docs, Node-pressure Eviction")
def disk(subject: Subject) -> Iterator[Violation]:
    """rules.minFreeDisk is free where the cluster keeps images."""
    inside = subject.cluster.free_disk_mib if subject.cluster is not None else None
    free, least = inside, mebibytes(subject.loaded.spec.rules.min_free_disk)
    where, hint = "inside the cluster", "minikube ssh -- docker system prune"
    if free is None:
        free, where, hint = subject.machine.free_disk_mib, "on this machine", "docker system prune"
    if free is not None and free < least:
        yield Violation(f"{free} MiB of disk are free {where}; {least} MiB must remain (rules.minFreeDisk)",
                     Place(spec=("rules", "minFreeDisk")), hints=(hint, "todo-deploy images prune"))  # fmt: skip


def _found(subject: Subject, name: str) -> Iterator[Violation]:
    for one in subject.machine.problems.get(name, ()):
        yield Violation(one.title, Place(where=one.where), one.detail, one.hints)
