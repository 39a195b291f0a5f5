"""What the rules look at: the rendered charts, the running cluster, this machine and the project's folder."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from deployer.config.load import LoadedSpec, chart_folder, dockerfile_of
from deployer.config.releases import BUILTIN
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.image_ref import DEFAULT_REGISTRY, parse_ref
from deployer.core.ports import (
    WITHOUT_CLUSTER,
    ClusterFacts,
    HelmPort,
    ImagePort,
    Kind,
    KubePort,
    Object,
    ObjectRef,
    Rendering,
    UpgradeRequest,
    ref_of,
)
from deployer.core.reading import Malformed, read_text
from deployer.core.values import overlaid, path_keys, set_at, value_at
from deployer.core.yaml import parse_manifest, parse_values
from deployer.helm.storage import changed_paths, stored_size
from deployer.kube.rights import listed
from deployer.plan import Plan, ReleasePlan
from deployer.preflight.rules import capacity, containers, values
from deployer.preflight.rules.configuration import unprovided
from deployer.preflight.rules.model import Cluster, Machine, Rendered, Subject, as_taken, definitions, is_test
from deployer.sources import build_context, env_files, git, load
from deployer.sources.charts import chart_texts, packed_parts
from deployer.sources.dockerfile import copied, declared_values, instructions, reaches, started
from deployer.sources.dotenv import EnvFile
from deployer.sources.env_files import leaks, telling_values
from deployer.sources.pins import unpacked_for_now
from deployer.stages.cluster import Host, start_request
from deployer.state.record import Record
from deployer.status.objects import dig, is_default_class, name_of
from deployer.toolchain import silent_registries

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_AT_ONCE = 6
_MOST_SUSPECTS = 16
"""Each may cost a render or two."""
_ASKS = re.compile(r"\blookup\b|Capabilities\.APIVersions")
_RANDOM = re.compile(
    r"\b(rand(Alpha|AlphaNum|Numeric|Ascii|Bytes|Int)|uuidv4|gen(PrivateKey|CA|SelfSignedCert|SignedCert)\w*|"
    r"htpasswd|bcrypt|derivePassword|encryptAES|now|shuffle)\b"
)
"""Functions of templates whose result is another at each render."""


@dataclass(frozen=True, slots=True)
class Running:
    """A cluster that runs: its API server, the application's record in it, and its Docker daemon where it has one."""

    kube: KubePort
    record: Record = field(repr=False)
    open_images: Callable[[], ImagePort] | None = None
    facts: ClusterFacts | None = None

    @property
    def shares_volumes(self) -> bool:
        """Whether what a node keeps for volumes is the same on all nodes."""
        return self.facts is not None and self.facts.shared_volumes

    @property
    def container(self) -> dict[str, Fraction]:
        """What a node may use at most, where it is a container that Minikube made."""
        if self.facts is None or self.facts.driver not in ("docker", "podman"):
            return {}
        given = {"cpu": Fraction(self.facts.cpus), "memory": Fraction(self.facts.memory_mib) * 2**20}
        return {key: amount for key, amount in given.items() if amount}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a plan is to be deployed: this machine, and the cluster if it runs. Without helm no chart is rendered.

    `stopped`: there is a cluster, and what it has cannot be asked. `offline`: no registry answered when the tools
    were made ready.
    """

    host: Host
    cache_dir: Path
    helm: HelmPort | None = None
    running: Running | None = None
    stopped: bool = False
    offline: bool = False


def gather(loaded: LoadedSpec, plan: Plan, target: Target, *, thorough: bool) -> Subject:
    """Everything that rules look at; renders and questions to the cluster run side by side.

    `thorough`: every mapped value is tried with another one, not only those that seem to be unused. Input error where
    a chart does not render, unless it asks the cluster for what is not there yet.
    """
    env = load.load_env(loaded)
    kinds = _kinds(target)
    # What waits for trials must not take their threads.
    with ThreadPoolExecutor(_AT_ONCE) as pool, ThreadPoolExecutor(_AT_ONCE) as trials:
        cluster = pool.submit(_cluster, loaded, plan, target, kinds)
        machine = pool.submit(_machine, loaded, plan, env, target.cache_dir)
        charts = [_Chart(one, target.helm, _against(one, target, kinds), kinds) for one in plan.releases if target.helm]
        renders = [pool.submit(_rendered, loaded, plan, one, trials, thorough=thorough) for one in charts]
        made = _subject(Subject(loaded, plan, (), env), renders, cluster.result(), machine.result(), target)
    return _with_images(made, target)


def render(loaded: LoadedSpec, plan: Plan, target: Target) -> Subject:
    """Only the objects of the releases, for the API server to judge."""
    kinds = _kinds(target)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        charts = [_Chart(one, target.helm, _against(one, target, kinds), kinds) for one in plan.releases if target.helm]
        renders = [pool.submit(_objects_of, one) for one in charts]
        return _subject(Subject(loaded, plan, (), load.load_env(loaded)), renders, None, Machine(), target)


@dataclass(frozen=True, slots=True)
class _Chart:
    """A release, and how it is rendered."""

    release: ReleasePlan
    helm: HelmPort
    against: Rendering
    kinds: _Kinds

    def template(self, release: ReleasePlan | None = None, *, crds: bool = False) -> tuple[Object, ...]:
        """The chart's objects, maybe with the values of another plan."""
        return tuple(self.helm.template(_request(release or self.release), replace(self.against, crds=crds)))


_Kinds = Mapping[tuple[str, str], Kind]
"""By apiVersion and kind."""


def _kinds(target: Target) -> _Kinds:
    return target.running.kube.kinds() if target.running is not None else {}


def _against(release: ReleasePlan, target: Target, kinds: _Kinds) -> Rendering:
    if target.running is None:
        return WITHOUT_CLUSTER
    apis = {api for api, _ in kinds} | {f"{api}/{kind}" for api, kind in kinds}
    return Rendering(tuple(sorted(apis)), asks=True, upgrade=release.name in target.running.record.releases)


def _subject(
    bare: Subject, renders: Sequence[Future[Rendered]], cluster: Cluster | None, machine: Machine, target: Target
) -> Subject:
    """The subject with what was rendered; a release that cannot be rendered yet is no part of its plan."""
    rendered: list[Rendered] = []
    failed: list[Problem] = []
    unknown: list[Problem] = []
    exit_code = ExitCode.INPUT
    for release, one in zip(bare.plan.releases, renders, strict=False):
        try:
            rendered.append(one.result())
        except DeployError as error:
            exit_code = error.exit_code
            if exit_code is ExitCode.INPUT and _asks_for_more(release, bare.plan, target):
                title = f"release `{release.name}` is not checked: its chart looks up objects that do not exist yet"
                hints = ("nothing; Helm says the same, if it is still not there by then",)
                unknown.append(Problem("CHART_UNKNOWN", title, error.problems[0].detail, "", hints))
            else:
                failed += error.problems
    if failed:
        raise DeployError(failed, exit_code)
    known = {one.release.name for one in rendered}
    plan = bare.plan if not unknown else replace(
        bare.plan, releases=tuple(one for one in bare.plan.releases if one.name in known)
    )  # fmt: skip
    subject = replace(
        bare, plan=plan, releases=tuple(rendered), cluster=cluster, machine=machine, unrendered=tuple(unknown)
    )
    return _with_keys(subject, target.running.kube) if cluster is not None and target.running is not None else subject


def _asks_for_more(release: ReleasePlan, plan: Plan, target: Target) -> bool:
    """Whether the chart asks the cluster, and that does not have yet all that `up` makes before this release."""
    if not any(_ASKS.search(text) for _, text in chart_texts(release.chart)):
        return False
    running = target.running
    if running is None or any(one.name not in running.record.releases for one in plan.releases if one != release):
        return True
    return any(running.kube.get("Secret", one.namespace, one.served) is None for one in plan.secrets)


def _objects_of(one: _Chart, everything: tuple[Object, ...] | None = None) -> Rendered:
    """What the chart renders to, without tests, and what of that is another each time."""
    everything = one.template() if everything is None else everything
    objects = tuple(as_taken(body) for body in everything if not is_test(body))
    chart = next(iter(parse_manifest(read_text(one.release.chart / "Chart.yaml"))), {})
    wanted = {(str(body.get("apiVersion")), str(body.get("kind"))) for body in objects if body.get("apiVersion")}
    lacks = one.kinds and wanted - one.kinds.keys()
    # Helm applies the folder `crds` when it installs a release, and never again.
    crds = one.template(crds=True) if lacks else ()
    defined = definitions(crds) - definitions(objects)
    brings, withheld = (frozenset(), defined) if one.against.upgrade else (defined, frozenset())
    size = stored_size(one.release.chart, one.release.values, objects)
    texts = dict(chart_texts(one.release.chart))
    random = tuple(name for name, text in texts.items() if _RANDOM.search(text) and not name.endswith("NOTES.txt"))
    # What a chart looks up it makes only once.
    is_kept = not one.against.upgrade and any(map(_ASKS.search, texts.values()))
    again = renewed(everything, one.template()) if random and not is_kept else ()
    return Rendered(
        one.release, objects, chart, brings=brings, withheld=withheld, size=size, renewed=again, random=random
    )


def renewed(first: Sequence[Object], second: Sequence[Object]) -> tuple[tuple[ObjectRef, str], ...]:
    """The fields that differ between two renders of the same chart with the same values."""
    known = {ref_of(one): one for one in second}
    found: dict[tuple[ObjectRef, str], None] = {}
    for one in first:
        changes = changed_paths(known.get(ref_of(one), {}), one)
        found |= dict.fromkeys((ref_of(one), path) for path in changes)
    return tuple(found)


def _rendered(loaded: LoadedSpec, plan: Plan, one: _Chart, trials: ThreadPoolExecutor, *, thorough: bool) -> Rendered:
    mapped = containers.mapped_values(one.release.name, loaded.spec.releases[one.release.name], one.release)
    images = {image.name: image for image in plan.images}
    # Texts are tried all at once; what is handed over as a map (checksums) is tried by itself.
    first = tuple(each for each in mapped if isinstance(each.value, str))
    trial = trials.submit(_tried, one, first) if thorough and first else None
    apart = [(each, trials.submit(_tried, one, (each,))) for each in mapped if thorough and each not in first]
    everything = one.template()
    rendered = _objects_of(one, everything)
    if trial is None and containers.may_be_misled(rendered.objects, one.release, images):
        trial = trials.submit(_tried, one, first)
    changed = trial.result() if trial is not None else None
    if thorough:
        doubted = [each for each in first if changed is not None and not containers.verbatim(each.other, changed)]
    else:
        doubted = [each for each in mapped if each.is_image and not containers.verbatim(each.value, everything)]
    results = [(each, work.result()) for each, work in apart]
    results += [(each, _tried(one, (each,))) for each in doubted]
    suspects = _suspects(loaded, one.release, thorough=thorough)
    # What a chart keeps by `lookup` is random all the same before it is there.
    again = one.template() if rendered.random and not rendered.renewed and (suspects or results) else everything
    random = frozenset(rendered.renewed or renewed(everything, again))
    unused = tuple(
        (each.location, each.path) for each, other in results if other and values.alike(everything, other, random)
    )
    wrong = containers.not_built(mapped, changed, rendered, images) if trial is not None else ()
    idle = values.idle(
        one.release.values, tuple(suspects), lambda changed: _with_values(one, changed),
        lambda trial: values.alike(everything, trial, random),
    )  # fmt: skip
    without_effect = tuple((path, near) for path, near in suspects.items() if path in idle)
    return replace(rendered, unused=unused, not_built=wrong, without_effect=without_effect)


def _suspects(loaded: LoadedSpec, release: ReleasePlan, *, thorough: bool) -> dict[tuple[str, ...], str]:
    """The values that the chart's own do not have, `thorough` or not only those that are close to one it has.

    Those that the spec maps have a rule of their own.
    """
    spec = loaded.spec.releases[release.name]
    by_source = (*spec.images.values(), *spec.secrets.values(), *spec.switches.values())
    mapped = [path_keys(path.partition("[")[0]) for one in by_source for path in one]
    given = values.unknown(release.values, _defaults(release.chart))
    left = (one for one in given if (thorough or one[1]) and not any(_leads(one[0], path) for path in mapped))
    return dict(islice(left, _MOST_SUSPECTS))


def _leads(path: Sequence[str], other: Sequence[str]) -> bool:
    """Whether one of the two paths is the beginning of the other."""
    return all(one == two for one, two in zip(path, other, strict=False))


def _defaults(chart: Path) -> dict[str, Any]:
    """The chart's own values, and those of the charts in its folder, packed or not, below their names."""
    about = next(iter(parse_manifest(read_text(chart / "Chart.yaml"))), {})
    file = chart / "values.yaml"
    known: dict[str, Any] = {}
    with suppress(Malformed):  # helm says where
        read = parse_values(read_text(file)) if file.is_file() else {}
        known = read if isinstance(read, dict) else {}
    packed = dict(packed_parts(chart))
    listed = about.get("dependencies")
    for one in (each for each in listed if isinstance(each, dict)) if isinstance(listed, list) else ():
        name, folder = str(one.get("alias") or one.get("name")), chart / "charts" / str(one.get("name"))
        if folder.is_dir():
            known[name] = overlaid(_defaults(folder), known.get(name) or {})
        elif name in packed:
            with suppress(Malformed), unpacked_for_now(packed[name]) as unpacked:
                known[name] = overlaid(_defaults(unpacked), known.get(name) or {})
        else:
            known[name] = {}
        for path in filter(None, str(one.get("condition") or "").split(",")):
            with suppress(ValueError):
                set_at(known, path.strip(), value_at(known, path.strip()) or False)
    return {**known, "global": {}, "tags": {}}


def _tried(one: _Chart, tried: tuple[containers.Mapped, ...]) -> tuple[Object, ...] | None:
    """What the chart renders to with other values there; None where it does not."""
    return _with_values(one, containers.with_others(one.release.values, tried))


def _with_values(one: _Chart, changed: Mapping[str, Any]) -> tuple[Object, ...] | None:
    """What the chart renders to with these values; None where it does not."""
    try:
        return one.template(replace(one.release, values=changed))
    except DeployError:
        return None


def _request(release: ReleasePlan) -> UpgradeRequest:
    return UpgradeRequest(release.name, release.namespace, release.chart, release.values, {}, "", release.timeout)


def _cluster(loaded: LoadedSpec, plan: Plan, target: Target, kinds: _Kinds) -> Cluster | None:
    """The running cluster; else the one that Minikube would make here, or nothing of somebody's own cluster."""
    wanted, running = loaded.spec.cluster, target.running
    if running is None:
        if wanted.provider != "minikube":
            return None
        request, _ = start_request(wanted, target.host)
        machine = platform.machine()
        architecture = _ARCHITECTURES.get(machine, machine)
        made = capacity.machine_cluster(wanted.name, request.cpus, request.memory_mib, architecture, request.nodes)
        return replace(made, unseen=target.stopped)
    kube = running.kube
    nodes, namespaces = listed(kube, "Node") or [], listed(kube, "Namespace", metadata_only=True)
    spaces = None if namespaces is None else frozenset(name_of(one) for one in namespaces)
    free = [disk // 2**20 for node in nodes if (disk := kube.free_disk(name_of(node))) is not None]
    return Cluster(
        name=wanted.context_name,
        allocatable=capacity.node_amounts(nodes, running.container),
        counted=capacity.node_amounts(nodes),
        nodes=tuple(has for one in nodes if (has := capacity.node_amounts([one]))),
        node_classes=_node_classes(kube) if len(nodes) > 1 and not running.shares_volumes else frozenset(),
        architectures=frozenset(str(dig(one, "status", "nodeInfo", "architecture") or "") for one in nodes),
        pods=tuple(_of_all(kube, "Pod", plan)),
        services=tuple(_of_all(kube, "Service", plan)),
        ours=objects_of(plan, running.record),
        namespaces=spaces,
        storage_classes=_storage_classes(kube),
        ingress_classes=_ingress_classes(kube),
        quotas=tuple(_of_each(kube, "ResourceQuota", plan)),
        limit_ranges=tuple(_of_each(kube, "LimitRange", plan)),
        kinds=frozenset(kinds) or None,
        unspaced=frozenset(key for key, where in kinds.items() if not where.namespaced),
        image_architectures=_architectures(plan, running),
        free_disk_mib=min(free, default=None),
    )


def _node_classes(kube: KubePort) -> frozenset[str]:
    """The classes of Minikube's provisioner, which makes a folder in its own node; "" where one is the default."""
    those = [one for one in listed(kube, "StorageClass") or () if one.get("provisioner") == "k8s.io/minikube-hostpath"]
    return _with_default(those)


def _with_default(classes: Sequence[Object]) -> frozenset[str]:
    """Their names, and "" where one is the default."""
    return frozenset({name_of(one) for one in classes} | {"" for one in classes if is_default_class(one)})


def _ingress_classes(kube: KubePort) -> frozenset[str] | None:
    """The names that an Ingress may ask for; None where this user may not list them."""
    found = listed(kube, "IngressClass")
    return None if found is None else _with_default(found)


def _of_all(kube: KubePort, kind: str, plan: Plan) -> list[Object]:
    """The objects of all namespaces, or of the plan's where this user may not list all."""
    found = listed(kube, kind)
    return found if found is not None else _of_each(kube, kind, plan)


def _of_each(kube: KubePort, kind: str, plan: Plan) -> list[Object]:
    """The objects of the plan's namespaces, where this user may list them."""
    return [one for name in plan.namespaces for one in listed(kube, kind, name) or ()]


def _storage_classes(kube: KubePort) -> frozenset[str] | None:
    """The names that a claim may ask for: those of classes, and those that volumes made by hand bear; "" where one that
    asks for none gets a volume; None where this user may not list them."""
    classes, volumes = listed(kube, "StorageClass"), listed(kube, "PersistentVolume")
    if classes is None or volumes is None:
        return None
    by_hand = (str(dig(one, "spec", "storageClassName") or "") for one in volumes)
    return _with_default(classes) | frozenset(by_hand)


def objects_of(plan: Plan, record: Record) -> frozenset[ObjectRef]:
    """The objects that the plan's releases have in the cluster, as the application's record knows them."""
    known = (record.releases[one.name] for one in plan.releases if one.name in record.releases)
    return frozenset(ref for one in known for ref in one.objects)


def _architectures(plan: Plan, running: Running) -> dict[str, str]:
    """What processors the images and base images that are there already are made for."""
    if running.open_images is None or not plan.images:
        return {}
    daemon = running.open_images()
    refs = {ref for image in plan.images for ref in (image.ref, *image.bases)}
    return {ref: found.architecture for ref in sorted(refs) if (found := daemon.image(ref)) is not None}


def _with_keys(subject: Subject, kube: KubePort) -> Subject:
    """The subject that also knows the cluster's own Secrets and ConfigMaps that pods refer to."""
    keys: dict[ObjectRef, frozenset[str]] = {}
    for ref in unprovided(subject):
        found = kube.get(ref.kind, ref.namespace, ref.name)
        if found is not None:
            keys[ref] = frozenset(key for field in ("data", "binaryData") for key in found.get(field) or ())
    assert subject.cluster is not None
    return replace(subject, cluster=replace(subject.cluster, keys=keys)) if keys else subject


def _with_images(subject: Subject, target: Target) -> Subject:
    """The subject that also knows which images of others nobody can deliver, where no registry answered before."""
    running = target.running
    if not target.offline or running is None or running.open_images is None:
        return subject
    built = {parse_ref(image.ref).familiar for image in subject.plan.images}
    used = {one.image for one in subject.containers(init=True) if one.image and one.workload.starts}
    foreign = sorted(one for one in used if parse_ref(one).familiar not in built)
    daemon = running.open_images() if foreign else None
    pulled = {one.image for one in subject.containers(init=True) if one.is_pulled_always}
    lacking = [one for one in foreign if daemon is not None and (one in pulled or daemon.image(one) is None)]
    away = silent_registries({parse_ref(one).registry for one in lacking})
    found = {one: parse_ref(one).registry or DEFAULT_REGISTRY for one in lacking if parse_ref(one).registry in away}
    return replace(subject, machine=replace(subject.machine, undeliverable=found)) if found else subject


def _machine(loaded: LoadedSpec, plan: Plan, env: EnvFile, cache_dir: Path) -> Machine:
    of_files, in_git, line_ends, shipped = list[Problem](), list[Problem](), list[Problem](), list[Problem]()
    for name in loaded.spec.env.files:
        path = loaded.root / name
        if path.exists():  # another one is made by `up`
            of_files += env_files.file_problems(path, loaded.root)
            in_git += [replace(one, where=name) for one in tracked(path)]
    users, contexts, declared, leaking = {}, {}, {}, {}
    secret = _secret_values(loaded, env)
    for name, image in loaded.spec.images.items():
        dockerfile = dockerfile_of(loaded.root, image)
        with suppress(DeployError, OSError):  # reported by what reads the sources
            folder = loaded.root / image.context
            files = build_context.context_files(folder, dockerfile)
            taken = copied(dockerfile.read_text(encoding="utf-8", errors="replace"), image.args, certain=True)
            sent = [one for one in files if one.kind == "file" and any(reaches(at, one.path) for at, _ in taken)]
            paths = [one.path for one in sent]
            leaking[name] = tuple(leaks(folder, paths, [loaded.root / file for file in loaded.spec.env.files], secret))
            contexts[name] = (build_context.total_size(sent), build_context.biggest(sent, 3))
            line_ends += _line_ends(loaded, name, dockerfile, paths)
        text = dockerfile.read_text(encoding="utf-8", errors="replace") if dockerfile.is_file() else ""
        variables = declared_values(text, image.args)
        declared[name] = tuple((key, value, f"{loaded.shown(dockerfile)}:{line}") for key, value, line in variables)
        user = _last_user(text) if image.target is None else None
        if user is not None:
            users[name] = user
    with suppress(DeployError):
        shipped += load.shipped(loaded, load.values_of(env))
    problems = {
        "ENV_READABLE": tuple(of_files),
        "ENV_TRACKED": tuple(in_git),
        "ENV_LINES": env.notes,
        "ENV_IN_CHART": tuple(one for release in plan.releases for one in _in_chart(loaded, release, secret)),
        "LINE_ENDS": tuple(line_ends),
        "CONTEXT_SHIPS": tuple(shipped),
    }
    return Machine(_free_disk(cache_dir), problems, users, declared, contexts, leaking)


def _in_chart(loaded: LoadedSpec, release: ReleasePlan, secret: Mapping[str, str]) -> Iterator[Problem]:
    """Env files with secrets among the files that helm keeps with each revision of the release."""
    wanted = loaded.spec.releases[release.name].chart
    if wanted == BUILTIN or loaded.spec.releases[release.name].is_remote:
        return
    folder = chart_folder(loaded.root, wanted)
    paths = [str(path.relative_to(release.chart)) for path in sorted(release.chart.rglob("*")) if path.is_file()]
    for leak in leaks(folder, paths, [loaded.root / file for file in loaded.spec.env.files], secret):
        title = f"the chart of release `{release.name}` contains `{leak.path}`: helm keeps it with every revision"
        hint = f"add a line `{leak.path}` to {loaded.shown(folder / '.helmignore')}"
        yield Problem("ENV_IN_CHART", title, leak.why, loaded.shown(folder / leak.path), (hint,))


_TAKES_CR_AWAY = re.compile(r"dos2unix|\\r|\\015|\^M")


def _line_ends(loaded: LoadedSpec, image: str, dockerfile: Path, paths: Sequence[str]) -> Iterator[Problem]:
    """That the script which the image starts names its interpreter in a line that ends with CRLF."""
    text = dockerfile.read_text(encoding="utf-8", errors="replace")
    program, line = started(text, loaded.spec.images[image].target)
    if any(one.word == "RUN" and _TAKES_CR_AWAY.search(one.rest) for one in instructions(text)):
        return
    folder = loaded.root / loaded.spec.images[image].context
    for path in paths if program else ():
        if path.rpartition("/")[2] != program.rpartition("/")[2]:
            continue
        with (folder / path).open("rb") as script:
            first = script.readline(300)
        if first.startswith(b"#!") and first.endswith(b"\r\n"):
            where = f"{loaded.shown(folder / path)}:1"
            title = f"image `{image}` starts `{program}` ({dockerfile.name}:{line}), whose `#!` line ends with CRLF"
            hint = "save it with LF line ends (.gitattributes: `*.sh text eol=lf`)"
            yield Problem("LINE_ENDS", title, where=where, hints=(hint,))


def _secret_values(loaded: LoadedSpec, env: EnvFile) -> dict[str, str]:
    """The env values by which a copy of a secret is known."""
    keys = {wanted.source or key for one in loaded.spec.secrets.values() for key, wanted in one.keys.items()}
    return telling_values(load.values_of(env), keys, load.example_values(loaded))


def tracked(path: Path) -> list[Problem]:
    """The problem that git tracks the env file, if it does."""
    if not git.tracks(path):
        return []
    return [Problem("ENV_TRACKED", f"git tracks `{path.name}`", hints=(f"git rm --cached {path.name}",))]


def _free_disk(cache_dir: Path) -> int | None:
    """Free MiB where Docker keeps its data, or where the tool keeps its own."""
    places = (Path("/var/lib/docker"), cache_dir, *cache_dir.parents)
    with suppress(OSError):
        return shutil.disk_usage(next(path for path in places if path.exists())).free // 2**20
    return None


def _last_user(dockerfile: str) -> str | None:
    """The user that the last stage ends with; None where that is its base image's or a variable's."""
    last = next((one for one in reversed(instructions(dockerfile)) if one.word in ("FROM", "USER")), None)
    user = last.rest.strip().strip("\"'") if last is not None and last.word == "USER" else None
    return user if user and "$" not in user else None
