"""The API server, through the kubernetes package's raw ApiClient: JSON in, JSON out, no models, no discovery.

The typed API of the package costs more than a second to import and 140 MB; the raw client costs a third of that.
"""

from __future__ import annotations

import math
import re
import time
import urllib.parse
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.client.api_client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config import new_client_from_config
from kubernetes.config.config_exception import ConfigException

from deployer.core.errors import DeployError, ExitCode, Problem, machine_error, refused
from deployer.core.objects import fitted, well_formed
from deployer.core.ports import APPLY_PATCH, KINDS, MERGE_PATCH, OWNER, DryRun, Executed, Kind, Object, PodAnswer
from deployer.core.reading import Malformed, parse_json, shaped
from deployer.core.redact import foreign
from deployer.core.retry import http_errors as http
from deployer.core.retry import retried
from deployer.core.yaml import yaml_error
from deployer.kube.outage import WhyStopped, unknown
from deployer.kube.portforward import PodStream, Status, execute, open_stream, parsed_head


class _Refused(DeployError):
    """The server's refusal, with its own answer."""

    def __init__(self, problem: Problem, exit_code: ExitCode, answer: DryRun) -> None:
        self.answer = answer
        super().__init__(problem, exit_code)


class NotFound(_Refused):
    """The object, its namespace or its kind does not exist: an answer for those who read, a failure for who writes."""


class Busy(_Refused):
    """The server asks to be asked again: it has too much to do, or has just learnt of a kind."""


# A node under load answers late, a stopped one never: connecting is quick or hopeless, reading may take longer.
_TIMEOUT = (3.05, 30)
ATTEMPTS = 4
PATIENT_ATTEMPTS = 12
"""A quarter of a minute of them when connections are refused: for a run that has seen the server answer."""
_TRANSIENT = (http.MaxRetryError, http.NewConnectionError, http.ProtocolError, Busy)
_LATE = (http.ConnectTimeoutError, http.ReadTimeoutError)
_PATIENT_SECONDS = 20.0
_LONGEST_LINE = 65536
_HEAD_END, _MOST_HEAD = b"\r\n\r\n", 65536
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
# Aggregated discovery (Kubernetes 1.30; beta since 1.27): two requests for every kind that the server knows.
_DISCOVERY = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
# An object that the API server finds invalid is the user's input.
_EXITS = {**dict.fromkeys((401, 403, 409), ExitCode.REFUSED), 422: ExitCode.INPUT}
_HINTS = {
    401: ("kubectl auth whoami", "todo-deploy up, where Minikube's certificates have expired: it renews them"),
    403: ("kubectl auth whoami",),
    422: ("correct the object that it names",),
}
_DISCOVERY_SECONDS = 5.0
"""So far apart the server is asked anew for a kind that it did not have: a release may have just defined it."""
_MEASURED = "metrics.k8s.io"  # the suffix of groups that show measurements, not objects that are stored


@dataclass(frozen=True, slots=True)
class _List:
    items: list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True)
class _Change:
    """One line of a watch."""

    type: str
    object: dict[str, Any]


_DISK = {"availableBytes": int}
_SUMMARY = {
    "node": {"fs": _DISK, "runtime": {"imageFs": _DISK}},
    "pods": [{"podRef": {"name": str, "namespace": str},
              "containers": [{"name": str, "memory": {"workingSetBytes": int}}]}],
}  # fmt: skip
"""A kubelet's `stats/summary`, as far as it is read."""


@dataclass(frozen=True, slots=True)
class _Media:
    """The media types of what is sent and of what is asked for."""

    content: str = "application/json"
    accept: str = "application/json"


_JSON = _Media()


class KubeApi:
    """One context of one kubeconfig; the user's current-context is neither read nor changed."""

    def __init__(
        self, kubeconfig: Path, context: str, attempts: int = ATTEMPTS, why_stopped: WhyStopped = unknown
    ) -> None:
        self.context = context
        self._attempts = attempts
        self._why_stopped = why_stopped
        self._was_away = False
        self._discovered: dict[str, Kind] = {}
        self._discovered_at = -math.inf
        try:
            self._client: ApiClient = new_client_from_config(  # type: ignore[no-untyped-call]
                config_file=str(kubeconfig), context=context, persist_config=False
            )
        except ConfigException as error:
            raise machine_error(
                "CONTEXT_MISSING",
                f"no context `{context}` in {kubeconfig}",
                detail=str(error),
                hints=("todo-deploy up", "todo-deploy doctor"),
            ) from None
        except (AttributeError, LookupError, OSError, TypeError, ValueError, yaml_error()) as error:
            # Certificates, plugins, and YAML that is read here but not by the kubernetes package.
            title = f"context `{context}` in {kubeconfig} cannot be used"
            detail = f"{type(error).__name__}: {error}"
            hints = (f"kubectl --context {context} get nodes",)
            raise machine_error("KUBECONFIG_UNREADABLE", title, detail=detail, hints=hints) from None
        # The cluster is on this machine: no request to it may go through the machine's proxy.
        self._client.configuration.proxy = None
        self._client.rest_client.pool_manager.connection_pool_kw["retries"] = False

    def ready(self) -> bool:
        """Whether the API server says of itself that it is ready."""
        try:
            self._exchange("GET", "/readyz", media=_Media(accept="text/plain"), attempts=1)
        except DeployError:
            return False
        return True

    def version(self) -> str:
        """The server's version, such as v1.34.4."""
        return str(self._json("GET", "/version").get("gitVersion") or "")

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, or None where there is none."""
        try:
            return well_formed(self._json("GET", self._path(kind, namespace, name)), kind.partition(".")[0])
        except NotFound:
            return None

    def list(
        self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "", metadata_only: bool = False
    ) -> list[Object]:
        """All objects of the kind, in one namespace or in all; `metadata_only` leaves spec, status and data out.

        Who manages which field is left out: it is a third of what is sent, and nothing here reads it.
        """
        asked = {"labelSelector": labels, "fieldSelector": fields}
        query = {name: value for name, value in asked.items() if value}
        accept = _METADATA_LIST if metadata_only else "application/json"
        try:
            answer = self._json("GET", self._path(kind, namespace), query, media=_Media(accept=accept))
            items = shaped(_List, answer).items or []  # an empty list is null
        except NotFound:
            return []
        except Malformed as error:
            raise self._strange(error) from None
        for item in items:
            well_formed(item, kind.partition(".")[0])["metadata"].pop("managedFields", None)
        return items

    def serves(self, kind: str) -> bool:
        """Whether the server has objects of the kind that can be listed."""
        try:
            self._where(kind)
        except NotFound:
            return False
        return True

    def contents(self, namespace: str = "") -> Sequence[Object]:
        """The metadata of every object in the namespace, or in all of them, whatever its kind, with its kind.

        Refused where a kind cannot be listed, so that an empty answer means that there is nothing.
        """
        found: dict[str, Object] = {}  # an object of two groups (Event, Ingress) has one uid
        inside = f"/namespaces/{namespace}" if namespace else ""
        for kind, where in self._listable():
            if not where.namespaced:
                continue
            with suppress(NotFound):  # its definition was removed meanwhile
                answer = self._json("GET", f"/{where.api}{inside}/{where.plural}", media=_Media(accept=_METADATA_LIST))
                version = where.api.partition("/")[2]
                for one in answer["items"] or ():
                    one["metadata"].pop("managedFields", None)
                    body = {"apiVersion": version, "kind": kind, "metadata": one["metadata"]}
                    found.setdefault(one["metadata"]["uid"], body)
        return tuple(found.values())

    def _where(self, kind: str) -> Kind:
        """Where the kind is served; raises NotFound where it is not, or not now."""
        if kind in KINDS:
            return KINDS[kind]
        now = time.monotonic()
        if kind not in self._discovered and now - self._discovered_at > _DISCOVERY_SECONDS:
            found = self._listable(strict=False)
            self._discovered = {f"{name}.{where.group}".rstrip("."): where for name, where in found}
            self._discovered_at = now
        if kind not in self._discovered:
            title = f"the API server of `{self.context}` has no kind {kind}"
            problem = Problem("API_KIND", title, hints=("kubectl api-resources",))
            raise NotFound(problem, ExitCode.MACHINE, DryRun(404, title))
        return self._discovered[kind]

    def _listable(self, *, strict: bool = True) -> Sequence[tuple[str, Kind]]:
        """Every kind that the server can list, and where; `strict`: refused where it cannot say all of them."""
        known: dict[tuple[str, str], tuple[str, Kind]] = {}
        versions = self._versions()
        if versions is None and strict:
            raise refused(
                "DISCOVERY_MISSING",
                f"the API server of `{self.context}` does not list its kinds",
                detail="it is older than Kubernetes 1.27",
                hints=("upgrade the cluster, or delete the namespace yourself",),
            )
        for api, version in versions or ():
            group = api.partition("/")[2].rpartition("/")[0]
            if group.endswith(_MEASURED):
                continue
            if version.get("freshness") == "Stale" and strict:
                title = f"the API server cannot list the objects of {api} at the moment"
                raise refused("DISCOVERY_STALE", title, hints=("kubectl get apiservices",))
            for one in version.get("resources") or ():
                if "list" in one["verbs"]:
                    where = Kind(api, one["resource"], one["scope"] == "Namespaced")
                    known.setdefault((group, where.plural), (str(one["responseKind"]["kind"]), where))
        return tuple(known.values())

    def kinds(self) -> Mapping[tuple[str, str], Kind]:
        """Where the server serves what, by apiVersion and kind; empty where it is too old to list that at once."""
        return {
            (api.partition("/")[2], str(one["responseKind"]["kind"])): Kind(
                api, one["resource"], one["scope"] == "Namespaced"
            )
            for api, version in self._versions() or ()
            for one in version.get("resources") or ()
            if one.get("responseKind")
        }

    def _versions(self) -> Sequence[tuple[str, Object]] | None:
        """Each version of each group: its path, and what is served there; None from a server that is too old."""
        found = []
        for root in ("api", "apis"):
            document = self._json("GET", f"/{root}", media=_Media(accept=_DISCOVERY))
            if document.get("kind") != "APIGroupDiscoveryList":
                return None
            for group in document.get("items") or ():
                name = str(group["metadata"].get("name") or "")
                found += [("/".join(filter(None, (root, name, one["version"]))), one) for one in group["versions"]]
        return found

    def dry_run(self, kind: Kind, body: Object, patch: str = "", *, force: bool = False) -> DryRun:
        """What the server would answer, with nothing changed: to the object as a new one, or, where `patch` is a media
        type, as a patch of the one of its name. `force`: by server-side apply, fields of others are taken over."""
        metadata = body["metadata"]
        path = _place(kind, metadata.get("namespace", ""), metadata["name"] if patch else "")
        query = {"dryRun": "All", "fieldManager": "helm", "fieldValidation": "Warn"}
        if patch == APPLY_PATCH:
            query |= {"fieldValidation": "Strict", "force": str(force).lower()}
        media = _Media(content=patch or _JSON.content)
        try:
            answer, _ = self._exchange("PATCH" if patch else "POST", path, query, body, media=media)
        except _Refused as error:
            return error.answer
        return DryRun(answer.status, warnings=_warnings(answer.headers))

    def awaited(self, kind: str, namespace: str, name: str, come: Callable[[Object], bool], seconds: float) -> bool:
        """Whether the object is, or becomes within so many seconds, as `come` wants it; False, and maybe earlier,
        where the API server does not say: what follows from it is for the caller's next look.
        """
        end = time.monotonic() + seconds
        query = {"watch": "true", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": str(math.ceil(seconds))}
        with suppress(http.HTTPError, ValueError):
            for line in self._lines(self._url(self._path(kind, namespace), query), "application/json", seconds):
                event = shaped(_Change, parse_json(line))
                if event.type in ("ADDED", "MODIFIED") and come(well_formed(event.object, kind)):
                    return True
                if time.monotonic() >= end:
                    break
        return False

    def create(self, body: Object) -> Object:
        """The object exists as given; refused where one of its name exists."""
        return self._json("POST", self._path(*_address(body)[:2]), {"fieldManager": OWNER}, body=body)

    def apply(self, body: Object) -> Object:
        """The object's fields are as given (server-side apply, ours by force)."""
        query = {"fieldManager": OWNER, "force": "true"}
        return self._json("PATCH", self._path(*_address(body)), query, body, media=_Media(content=APPLY_PATCH))

    def replace(self, body: Object) -> Object:
        """The object is as given, if nobody changed it since its resourceVersion."""
        return self._json("PUT", self._path(*_address(body)), {"fieldManager": OWNER}, body)

    def patch(self, kind: str, namespace: str, name: str, body: Object) -> Object | None:
        """The merge patch lies over the object; None where there is none."""
        path = self._path(kind, namespace, name)
        try:
            return self._json("PATCH", path, {"fieldManager": OWNER}, body, media=_Media(content=MERGE_PATCH))
        except NotFound:
            return None

    def delete(self, kind: str, namespace: str, name: str, *, orphan: bool = False) -> bool:
        """The object is going away, with what it owns unless that is to become an orphan; whether there was one."""
        body = {"propagationPolicy": "Orphan" if orphan else "Background"}
        try:
            self._json("DELETE", self._path(kind, namespace, name), body=body)
        except NotFound:
            return False
        return True

    def logs(
        self, namespace: str, pod: str, container: str, *, previous: bool = False, tail: int = 40
    ) -> Sequence[str]:
        """The last lines of a container's log; empty where there is none yet."""
        query = {"container": container, "tailLines": str(tail), "limitBytes": "65536"}
        if previous:
            query["previous"] = "true"
        with suppress(DeployError):
            _, raw = self._exchange(
                "GET", self._path("Pod", namespace, pod) + "/log", query, media=_Media(accept="*/*"), attempts=1
            )
            return raw.decode("utf-8", "replace").splitlines()
        return ()

    def follow(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool, follow: bool
    ) -> Generator[str, None, None]:
        """Yields a container's log line by line, and goes on with it when `follow` is set."""
        query = {"container": container, "tailLines": str(tail)}
        query |= {"previous": "true"} if previous else {}
        query |= {"follow": "true"} if follow else {}
        url = self._url(self._path("Pod", namespace, pod) + "/log", query)
        for line in self._lines(url, "*/*", None, _LONGEST_LINE):
            yield line.decode("utf-8", "replace")

    def ask_pod(
        self, namespace: str, pod: str, port: int, method: str, path: str, headers: Mapping[str, str]
    ) -> PodAnswer:
        """The head of the pod's answer on that port, through the API server. Raises OSError where there is none."""
        words = {"Host": f"{pod}:{port}", "User-Agent": OWNER, "Connection": "close", **headers}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in words.items())
        return PodAnswer(*parsed_head(self._head(namespace, pod, port, f"{head}\r\n".encode()), method))

    def memory_in_use(self, node: str) -> Mapping[tuple[str, str, str], int]:
        """The working sets, in bytes, of the node's containers by namespace, pod and container, as its kubelet last
        measured them; empty where it is not to be asked."""
        return {
            (pod["podRef"]["namespace"], pod["podRef"]["name"], one["name"]): used
            for pod in self._summary(node, {"only_cpu_and_memory": "true"}).get("pods", ())
            for one in pod.get("containers", ())
            if (used := one.get("memory", {}).get("workingSetBytes")) is not None
            and {"namespace", "name"} <= pod.get("podRef", {}).keys()
            and "name" in one
        }

    def free_disk(self, node: str) -> int | None:
        """The bytes that are free where the node keeps images and containers; None where it is not to be asked."""
        summary = self._summary(node, {}).get("node", {})
        places = (summary.get("fs", {}), summary.get("runtime", {}).get("imageFs", {}))
        return min((one["availableBytes"] for one in places if "availableBytes" in one), default=None)

    def _summary(self, node: str, query: Mapping[str, str]) -> Object:
        """What the node's kubelet measured; empty where it is not to be asked."""
        try:
            answer = self._json("GET", self._path("Node", "", node) + "/proxy/stats/summary", query, attempts=1)
        except DeployError:
            return {}
        return fitted(_SUMMARY, answer)

    def _head(self, namespace: str, pod: str, port: int, request: bytes) -> bytes:
        """What the pod sends first when it is sent the request: the head of its answer, if it ends in time."""
        stream = self.connect_pod(namespace, pod, port, timeout=_TIMEOUT[1])
        try:
            stream.send(request)
            data = b""
            while _HEAD_END not in data and len(data) < _MOST_HEAD and (more := stream.receive()):
                data += more
            return data
        finally:
            stream.close()

    def connect_pod(self, namespace: str, pod: str, port: int, *, timeout: float | None = None) -> PodStream:
        """A connection to that port of the pod, through the API server. Raises OSError."""
        url = self._url(self._path("Pod", namespace, pod) + "/portforward", {"ports": str(port)})
        return open_stream(self._client.configuration, url, self._headers("*/*"), timeout)

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], data: bytes = b"") -> Executed:
        """How the command ended in the container, which was given the data on its standard input; that has no end.

        Raises OSError where the container does not run, or the connection fails.
        """
        asked = [
            ("container", container),
            ("stdout", "true"),
            ("stderr", "true"),
            ("stdin", "true" if data else "false"),
        ]
        query = urllib.parse.urlencode([*asked, *(("command", word) for word in command)])
        url = f"{self._url(self._path('Pod', namespace, pod) + '/exec', None)}?{query}"
        return execute(self._client.configuration, url, self._headers("*/*"), data, _TIMEOUT[1])

    def _lines(
        self, url: str, accept: str, silence: float | None, longest: int | None = None
    ) -> Generator[bytes, None, None]:
        """The lines of an answer as they come, longer ones in pieces; none of a refusal."""
        response = self._client.rest_client.pool_manager.request(
            "GET", url, headers=self._headers(accept), preload_content=False, timeout=silence, retries=False
        )
        try:
            if response.status >= 400:
                return
            pending = b""
            for chunk in response.stream(4096):
                *lines, pending = (pending + chunk).split(b"\n")
                yield from lines
                if longest is not None and len(pending) >= longest:  # what has no end must not be copied over and over
                    yield pending
                    pending = b""
            if pending:
                yield pending
        finally:
            response.close()

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        *,
        media: _Media = _JSON,
        attempts: int | None = None,
    ) -> Object:
        _, answer = self._exchange(method, path, query, body, media=media, attempts=attempts)
        try:
            return shaped(dict[str, Any], parse_json(answer))
        except Malformed as error:
            raise self._strange(error) from None

    def _strange(self, error: Malformed) -> DeployError:
        """What answers is no API server: a proxy's page, or another program on its port."""
        return machine_error(
            "API_STRANGE",
            f"what answers at {self._client.configuration.host} is not the API server of `{self.context}`",
            detail=f"{error}, where a Kubernetes object was asked for",
            hints=("kubectl config view --minify", "todo-deploy doctor"),
        )

    def _exchange(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        *,
        media: _Media = _JSON,
        attempts: int | None = None,
    ) -> tuple[Any, bytes]:
        """The server's answer, and what it carries."""
        headers = self._headers(media.accept) | ({"Content-Type": media.content} if body is not None else {})

        def once() -> tuple[Any, bytes]:
            if self._was_away:  # a stopped node would be waited for in each of the calls that a failed run still makes
                self._refuse_away()
            try:
                answer = self._client.call_api(method, self._url(path, query), headers, body, _request_timeout=_TIMEOUT)
            except http.HTTPError:
                self._refuse_away()
                raise
            raw: bytes = answer.read()  # type: ignore[no-untyped-call]
            if answer.status >= 400:
                raise _refusal(method, path, answer.status, raw)
            return answer, raw

        try:
            patient = (attempts or self._attempts) > ATTEMPTS
            # What is created may be there although nobody said so.
            late = _LATE if method != "POST" else (http.ConnectTimeoutError,)
            transient = (*_TRANSIENT, *late) if patient else _TRANSIENT
            return retried(once, transient, attempts or self._attempts, _PATIENT_SECONDS)
        except ApiException as error:
            raise _refusal(method, path, error.status or 0, error.body or b"") from None
        except http.HTTPError as error:
            raise machine_error(
                "API_UNREACHABLE",
                f"the API server of `{self.context}` does not answer",
                detail=type(error).__name__,
                hints=("todo-deploy up", "todo-deploy doctor"),
            ) from None

    def _refuse_away(self) -> None:
        """Returns where the cluster may answer the next time."""
        why = self._why_stopped()
        self._was_away = why is not None
        if why is not None:
            raise why

    def _path(self, kind: str, namespace: str = "", name: str = "") -> str:
        return _place(self._where(kind), namespace, name)

    def _url(self, path: str, query: Mapping[str, str] | None) -> str:
        text = f"?{urllib.parse.urlencode(query)}" if query else ""
        return f"{self._client.configuration.host}{path}{text}"

    def _headers(self, accept: str) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": OWNER}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        return headers


def _place(where: Kind, namespace: str, name: str) -> str:
    inside = f"/namespaces/{namespace}" if where.namespaced and namespace else ""
    return f"/{where.api}{inside}/{where.plural}" + (f"/{name}" if name else "")


def _warnings(headers: Mapping[str, str]) -> tuple[str, ...]:
    """What the server remarks on, such as `unknown field "spec.prots"`."""
    return tuple(one.replace('\\"', '"') for one in _WARNING.findall(headers.get("Warning") or ""))


def _address(body: Object) -> tuple[str, str, str]:
    metadata = body["metadata"]
    return body["kind"], metadata.get("namespace", ""), metadata["name"]


def _refusal(method: str, path: str, status: int, raw: bytes | str) -> Exception:
    """The server's refusal without the object that was sent: a Secret's values must not reach a message."""
    try:
        answer = shaped(Status, parse_json(raw))
    except Malformed:
        answer = Status()
    message = foreign(answer.message)
    said = DryRun(status, message, tuple((one.field, foreign(one.message)) for one in answer.causes))
    problem = Problem(
        f"API_{answer.reason.upper() or status}",
        f"the API server refused {method} {path} ({status})",
        detail=message,
        hints=_HINTS.get(status, ("run the command again", "todo-deploy doctor")),
    )
    kind = {429: Busy, 404: NotFound}.get(status, _Refused)
    return kind(problem, _EXITS.get(status, ExitCode.MACHINE), said)
