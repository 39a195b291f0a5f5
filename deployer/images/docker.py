"""A Docker daemon, through the docker package's low-level client: builds as a stream, images, copies.

The package cannot speak BuildKit: builds go through `docker buildx`, and to the classic builder where there is none.
"""

from __future__ import annotations

import base64
import io
import json
import posixpath
import re
import tarfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cached_property
from typing import Any

import docker.auth
import docker.errors
import requests.exceptions
from docker.api.client import APIClient
from docker.tls import TLSConfig
from docker.types.daemon import CancellableStream

from deployer.core.errors import DeployError, input_error, machine_error
from deployer.core.image_ref import parse_ref
from deployer.core.ports import BuildFailed, BuildRequest, Buildx, DockerEndpoint, ImageFacts
from deployer.core.redact import foreign
from deployer.core.retry import http_errors
from deployer.core.steps import on_stop
from deployer.images import buildkit
from deployer.images.registry import host_of, refusal
from deployer.kube.outage import WhyStopped, ended_with_cluster, unknown

_STEP = re.compile(r"^Step \d+/\d+ : ")
_CONNECT_SECONDS = 60
_CHUNK = 2**20
# "denied" is what a registry says of a repository that is not there yet to who may not see what there is.
_ABSENT = re.compile(r"manifest unknown|name unknown|not found|denied", re.IGNORECASE)


class _Stream(CancellableStream):  # type: ignore[misc]  # the package has no type information
    """The events of a build: another thread may end it, where a generator being read cannot be closed."""

    def __next__(self) -> Any:
        """The next chunk; the package takes every OSError for the end, and its own refusals are OSErrors too."""
        try:
            return next(self._stream)
        except docker.errors.APIError:
            raise
        except (http_errors.ProtocolError, OSError):
            raise StopIteration from None

    def end(self) -> None:
        """The daemon gives the build up, because nobody listens any more."""
        with suppress(OSError, AttributeError):  # it may just have ended by itself
            self.close()

    def release(self) -> None:
        """The connection is closed, whether or not all of it was read."""
        self._response.close()


class _Client(APIClient):  # type: ignore[misc]  # the package has no type information
    """The machine's proxy and CA variables must not stand between us and a daemon that has its own certificates."""

    def _retrieve_server_version(self) -> Any:
        self.trust_env = False
        return super()._retrieve_server_version()

    def _stream_helper(self, response: Any, decode: bool = False) -> _Stream:
        return _Stream(super()._stream_helper(response, decode), response)


class DockerEngine:
    """One daemon at one address."""

    def __init__(
        self,
        endpoint: DockerEndpoint,
        why_stopped: WhyStopped = unknown,
        find_buildx: Callable[[], Buildx | None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self._find_buildx = find_buildx
        self._why_stopped = why_stopped
        certificates = endpoint.cert_path
        tls: TLSConfig | bool = False
        if certificates is not None:
            tls = TLSConfig(
                client_cert=(str(certificates / "cert.pem"), str(certificates / "key.pem")),
                ca_cert=str(certificates / "ca.pem"),
                verify=True,
            )
        base = endpoint.host.replace("tcp://", "https://") if certificates is not None else endpoint.host
        try:
            self._client = _Client(base_url=base, tls=tls, version="auto", timeout=_CONNECT_SECONDS)
        except docker.errors.DockerException as error:
            raise why_stopped() or _unreachable(endpoint, error) from None

    def container(self, name: str) -> Mapping[str, Any] | None:
        """What `docker inspect` knows of a container, or None where there is none."""
        try:
            with self._reached():
                found: Mapping[str, Any] = self._client.inspect_container(name)
        except docker.errors.NotFound:
            return None
        return found

    def read_file(self, name: str, path: str) -> bytes | None:
        """A file in a container, which need not run; None where there is no such file or container."""
        try:
            with self._reached():
                chunks, _ = self._client.get_archive(name, path)
                packed = b"".join(chunks)
        except docker.errors.NotFound:
            return None
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            member = tar.next()
            content = tar.extractfile(member) if member is not None else None
            return content.read() if content is not None else None

    def image(self, ref: str) -> ImageFacts | None:
        """The image, or None where the daemon has none of that name, or the text is no name of an image."""
        try:
            with self._reached(docker.errors.APIError):
                return _facts(ref, self._client.inspect_image(ref))
        except docker.errors.APIError as error:
            if error.is_client_error():
                return None
            raise _unreachable(self.endpoint, error) from None

    def images(self, label: str) -> Sequence[ImageFacts]:
        """Every tagged image that carries the label, by name."""
        with self._reached():
            found = self._client.images(filters={"label": label})
        refs = sorted({ref for entry in found for ref in entry.get("RepoTags") or ()})
        return tuple(facts for ref in refs if (facts := self.image(ref)) is not None)

    def refs(self) -> Sequence[str]:
        """Every name and tag that the daemon has an image for."""
        with self._reached():
            found = self._client.images()
        return sorted({ref for entry in found for ref in entry.get("RepoTags") or ()})

    @cached_property
    def _buildx(self) -> Buildx | None:
        return self._find_buildx()

    @property
    def has_buildkit(self) -> bool:
        """Whether builds go through BuildKit."""
        return self._buildx is not None

    def build(self, request: BuildRequest) -> Generator[str, None, None]:
        """Yields the build's output line by line; the image then has the tag. Raises BuildFailed."""
        if self._buildx is not None:
            yield from buildkit.build(self._buildx, self.endpoint, request, self._why_stopped)
        else:
            yield from self._built_classic(request)

    def _built_classic(self, request: BuildRequest) -> Generator[str, None, None]:
        step, tail = "", deque[str](maxlen=30)
        with ExitStack() as stack:
            try:
                with self._reached(docker.errors.APIError):
                    stream = self._begun(request)
                    stack.callback(stream.release)
                    stack.enter_context(on_stop(stream.end))
                    with ended_with_cluster(self._why_stopped, stream.end):
                        for chunk in stream:
                            # A request that is refused as a whole (an unreadable Dockerfile) answers with a message.
                            refusal = chunk.get("error") or chunk.get("message")
                            if refusal:
                                raise BuildFailed(foreign(refusal).strip(), step, tuple(tail))
                            for line in _lines(chunk):
                                step = line if _STEP.match(line) else step
                                tail.append(line)
                                yield line
            except docker.errors.APIError as error:
                raise BuildFailed(foreign(error.explanation or error), step, tuple(tail)) from None

    def _begun(self, request: BuildRequest) -> _Stream:
        stream: _Stream = self._client.build(
            fileobj=request.context,
            custom_context=True,
            dockerfile=request.dockerfile,
            tag=request.ref,
            buildargs=dict(request.args),
            labels=dict(request.labels),
            target=request.target or "",
            nocache=request.no_cache,
            rm=True,
            forcerm=True,
            decode=True,
            timeout=None,
        )
        return stream

    def copy_to(self, other: DockerEndpoint, refs: Sequence[str]) -> None:
        """The other daemon has the images too; layers they share travel once."""
        target = DockerEngine(other)
        try:
            target.load(self.save(refs))
        finally:
            target.close()

    def save(self, refs: Sequence[str]) -> Generator[bytes, None, None]:
        """Yields the archive of the images as `docker save` writes it; layers they share are in it once."""
        url = self._client._url("/images/get")
        with self._reached(), self._client.get(url, params={"names": list(refs)}, stream=True) as response:
            response.raise_for_status()
            yield from response.iter_content(_CHUNK)

    def load(self, archive: Iterable[bytes]) -> None:
        """The images of an archive are in the daemon under their names; machine error IMAGES_LOAD where it refuses."""
        with self._reached():
            for said in self._client.load_image(iter(archive)):  # a list would be sent as a form
                # An archive that is refused as a whole is answered with a message.
                if refused := said.get("error") or said.get("message"):
                    title = f"Docker at {self.endpoint.host} cannot load the images"
                    hints = ("df -h", "docker system df", "docker version")
                    raise machine_error("IMAGES_LOAD", title, detail=foreign(refused), hints=hints)

    def copy_lacking(self, other: DockerEndpoint, refs: Sequence[str]) -> Sequence[str]:
        """The other daemon has, under each of the names, the very image that this one has; returns what it lacked."""
        with closing(DockerEngine(other)) as target:
            lacking = [
                ref for ref in refs if (ours := self.image(ref)) is not None and _id(target.image(ref)) != ours.id
            ]
        if lacking:
            self.copy_to(other, lacking)
        return lacking

    def make_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """There is a volume of that name; a new one has the labels."""
        with self._reached():
            self._client.create_volume(name, labels=dict(labels))

    def remove_volume(self, name: str) -> None:
        """There is no volume of that name, unless a container uses it."""
        with suppress(docker.errors.APIError), self._reached(docker.errors.APIError):
            self._client.remove_volume(name)

    def empty_file(self, volume: str, path: str) -> None:
        """The volume's file is empty, where there are such a volume and folder; any other file stays.

        Docker reaches into a volume through a container only; this one has no image of anybody's and is never started.
        """
        with suppress(docker.errors.NotFound), self._reached():
            self._client.inspect_volume(volume)
            image = json.loads(self._client.import_image_from_data(_tar()))["status"]
            binds = self._client.create_host_config(binds={volume: {"bind": "/volume"}})
            made = self._client.create_container(image, ["none"], volumes=["/volume"], host_config=binds)["Id"]
            try:
                self._client.put_archive(made, posixpath.dirname(f"/volume/{path}"), _tar(posixpath.basename(path)))
            finally:
                self._client.remove_container(made, v=True, force=True)
                self._client.remove_image(image)

    def remove(self, ref: str) -> None:
        """The tag is gone, and the image with its last tag, unless a container uses it."""
        with suppress(docker.errors.APIError), self._reached(docker.errors.APIError):
            self._client.remove_image(ref)

    def published(self, ref: str) -> ImageFacts | None:
        """The image as its registry has it, or None where that has none; DeployError where it does not say."""
        try:
            with self._reached(docker.errors.APIError):
                found = self._client.inspect_distribution(ref, auth_config=self._credentials(ref))
        except docker.errors.APIError as error:
            said = foreign(error.explanation or error)
            if _ABSENT.search(said):
                return None
            raise refusal(ref, said) from None
        described = found.get("Descriptor") or {}
        return ImageFacts(ref, "", int(described.get("size") or 0), "", "", digest=str(described.get("digest") or ""))

    def pull(self, name: str) -> ImageFacts | None:
        """The image, which the daemon then has from its registry, too. DeployError where that refuses."""
        named = parse_ref(name)
        try:
            with self._reached(docker.errors.APIError):
                self._client.pull(named.name, named.tag, auth_config=self._credentials(name))
        except docker.errors.APIError as error:
            raise refusal(name, foreign(error.explanation or error)) from None
        return self.image(name)

    def push(self, ref: str, name: str) -> Generator[tuple[int, int], None, None]:
        """Yields how many bytes of how many are there; the registry then has the image under that name.

        DeployError where it refuses.
        """
        named = parse_ref(name)
        try:
            with self._reached(docker.errors.APIError), ExitStack() as stack:
                if name != ref:
                    self._client.tag(ref, named.name, named.tag)
                    stack.callback(self.remove, name)
                stream = self._client.push(
                    named.name, named.tag, stream=True, decode=True, auth_config=self._credentials(name)
                )
                stack.callback(stream.release)
                stack.enter_context(on_stop(stream.end))
                yield from _pushing(stream, name)
        except docker.errors.APIError as error:
            raise refusal(name, foreign(error.explanation or error)) from None

    def _credentials(self, ref: str) -> Mapping[str, Any]:
        """What Docker's own configuration or its credential helper has for the registry; the daemon is handed it in a
        header."""
        return _credentials(host_of(ref), self._client._auth_configs)

    @contextmanager
    def _reached(self, refusals: type[Exception] = docker.errors.NotFound) -> Iterator[None]:
        """While inside, a daemon that does not answer as it should is named; such refusals are raised as they are."""
        try:
            yield
        except refusals:
            raise
        except requests.exceptions.RequestException as error:
            raise self._why_stopped() or _unreachable(self.endpoint, error) from None

    def close(self) -> None:
        """The connection is closed."""
        self._client.close()


def _tar(*names: str) -> bytes:
    """An archive of empty files of these names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return packed.getvalue()


def _id(facts: ImageFacts | None) -> str:
    return facts.id if facts is not None else ""


def _credentials(host: str, configured: Any) -> Mapping[str, Any]:
    """What the configuration, or the credential helper that it names, has for the registry; empty where nothing."""
    try:
        return docker.auth.resolve_authconfig(configured, host) or {}
    except (docker.errors.DockerException, OSError, ValueError) as error:
        title, hints = f"Docker's credential helper gives nothing for {host}", (f"docker login {host}",)
        raise machine_error("REGISTRY_HELPER", title, detail=foreign(error)[:300], hints=hints) from None


def pull_credentials(hosts: Sequence[str]) -> dict[str, str]:
    """Name and password, as a pull Secret has them, for the first of these registries that there are any for.

    Input error where there are none, or only a token that Kubernetes cannot use.
    """
    configured = docker.auth.load_config()
    for host in hosts:
        # A helper's answer has its names in capitals.
        found = {key.lower(): value for key, value in _credentials(host, configured).items()}
        name, password = str(found.get("username") or ""), str(found.get("password") or "")
        if name and password:
            packed = base64.b64encode(f"{name}:{password}".encode()).decode()
            return {"username": name, "password": password, "auth": packed}
    raise input_error(
        "PULL_CREDENTIALS",
        f"Docker's configuration has no name and password for {hosts[0]}, and `registry.pullSecret` asks for them",
        hints=(f"docker login {hosts[0]}", "or leave `registry.pullSecret` out, where nodes pull without"),
    )


def _facts(ref: str, document: Mapping[str, Any]) -> ImageFacts:
    config = document.get("Config") or {}
    return ImageFacts(
        ref=ref,
        id=document["Id"],
        size=int(document.get("Size") or 0),
        user=str(config.get("User") or ""),
        architecture=str(document.get("Architecture") or ""),
        labels=config.get("Labels") or {},
        created=str(document.get("Created") or ""),
        layers=len((document.get("RootFS") or {}).get("Layers") or ()),
    )


def _pushing(chunks: Iterator[Mapping[str, Any]], name: str) -> Iterator[tuple[int, int]]:
    """How many bytes of how many are there; raises what the registry refuses."""
    sizes: dict[str, tuple[int, int]] = {}
    for chunk in chunks:
        if chunk.get("error"):
            raise refusal(name, foreign(chunk["error"]))
        progress, layer = chunk.get("progressDetail") or {}, str(chunk.get("id") or "")
        if layer and progress.get("total"):
            sizes[layer] = (min(progress.get("current", 0), progress["total"]), progress["total"])
            yield sum(done for done, _ in sizes.values()), sum(whole for _, whole in sizes.values())


def _lines(chunk: Mapping[str, Any]) -> list[str]:
    if "stream" in chunk:
        return [line for line in foreign(chunk["stream"]).splitlines() if line.strip()]
    if chunk.get("status") and not chunk.get("progressDetail"):
        return [foreign(f"{chunk.get('id', '')} {chunk['status']}").strip()]
    return []


def _unreachable(endpoint: DockerEndpoint, error: Exception) -> DeployError:
    text = foreign(error)
    if "Permission denied" in text:
        return machine_error(
            "DOCKER_PERMISSION",
            f"no permission to use Docker at {endpoint.host}",
            hints=('sudo usermod -aG docker "$USER" && newgrp docker',),
        )
    return machine_error(
        "DOCKER_UNREACHABLE",
        f"Docker does not answer at {endpoint.host}",
        detail=text.splitlines()[0][:300] if text else "",
        hints=("todo-deploy up", "todo-deploy doctor"),
    )
