"""The one table of causes: what can be wrong with a rollout, when that is certain, and what to do about it.

Policies are those of `fail-fast: strict | balanced | patient`. "At once" is for what no waiting can mend;
"after …" for what mends itself now and then; "at the deadline" for what only the deadline can decide. Naming a
cause on screen never waits for its policy. `todo-deploy explain --rules` prints this table.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployer.config.spec import FailFast


@dataclass(frozen=True, slots=True)
class Policy:
    """When a cause fails the run; whichever bound is met first, and no bound at all means the deadline."""

    now: bool = False
    seconds: float | None = None
    count: int | None = None
    alike: int | None = None

    def __str__(self) -> str:
        bounds = (
            "at once" if self.now else "",
            f"after {self.seconds:g} s" if self.seconds is not None else "",
            f"after {self.count} times" if self.count is not None else "",
            f"after {self.alike} alike" if self.alike is not None else "",
        )
        return " or ".join(filter(None, bounds)) or "at the deadline"


@dataclass(frozen=True, slots=True)
class Cause:
    """One row: `rank` orders root causes (low) before symptoms (high); `symptom` never stands for a cause."""

    code: str
    title: str
    rank: int
    strict: Policy
    balanced: Policy
    patient: Policy
    source: str
    hints: tuple[str, ...] = ()
    symptom: bool = False

    def policy(self, profile: FailFast) -> Policy:
        """The policy under a profile."""
        return {FailFast.STRICT: self.strict, FailFast.BALANCED: self.balanced}.get(profile, self.patient)


_OF_ITS_OWN = range(50, 61)
"""The ranks of what a workload's own processes do, whatever is around them."""

_SAID = range(50, 55)
"""The ranks among them of what the process, or the runtime, says in so many words."""

NOW, DEADLINE = Policy(now=True), Policy()


def after(seconds: float) -> Policy:
    """A policy that asks for the cause to be seen for so long without a break."""
    return Policy(seconds=seconds)


Policies = tuple[Policy, Policy, Policy]
CERTAIN: Policies = (NOW, NOW, NOW)
MISSING: Policies = (NOW, NOW, after(30))  # a person or an operator may still bring it
CRASH: Policies = (Policy(count=1), Policy(count=3, alike=2), Policy(count=6))
PROBE: Policies = (Policy(count=3), DEADLINE, DEADLINE)
SCHEDULE: Policies = (after(5), after(15), after(120))
LATE: Policies = (DEADLINE, DEADLINE, DEADLINE)


def settle(strict: float, balanced: float, patient: float | None) -> Policies:
    """Policies in seconds; None is the deadline."""
    return after(strict), after(balanced), after(patient) if patient is not None else DEADLINE


# Where the rules come from: K: is a page below
# https://kubernetes.io/docs/; kubelet: and controller: are words of Kubernetes' own source.
_SCHEDULING = "K:concepts/scheduling-eviction/kube-scheduler"
_IMAGES = "K:concepts/containers/images"
_SECRETS = "K:concepts/configuration/secret#optional-secrets"
_RUN = "kubelet: RunContainerError, runc's message"
_PODS = "K:concepts/workloads/pods/pod-lifecycle#restart-policy"
_PROBES = "K:concepts/workloads/pods/pod-lifecycle#container-probes"
_ADMIT = "K:reference/access-authn-authz/admission-controllers"

_ROWS: tuple[tuple[str, int, str, Policies, str, tuple[str, ...]], ...] = (
    # --- the cluster
    ("API_UNREACHABLE", 1, "the API server does not answer", LATE, "requests: connection errors",
     ("minikube status", "`todo-deploy up` starts a paused or stopped cluster")),
    ("NODE_NOT_READY", 5, "node `{name}` is not ready: {what}", settle(20, 60, None), "K:concepts/architecture/nodes",
     ("`todo-deploy up` starts a stopped node of Minikube", "kubectl describe node {name}", "minikube status")),
    ("NODE_PRESSURE", 6, "node `{name}` is under {what} pressure", settle(10, 60, None),
     "K:concepts/scheduling-eviction/node-pressure-eviction",
     ("minikube ssh -- docker system df", "minikube ssh -- docker image prune")),
    # --- pods that are not even created
    ("QUOTA", 20, "{workload}: its pods exceed the namespace's quota: {what}", CERTAIN,
     "K:concepts/policy/resource-quotas", ("kubectl describe resourcequota -n {namespace}",)),
    ("ADMISSION", 21, "{workload}: its pods are denied by {name}: {what}", CERTAIN, _ADMIT,
     ("kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations",)),
    ("SERVICE_ACCOUNT", 22, "{workload}: service account `{name}` does not exist", settle(5, 10, 60),
     "controller: a new namespace's own account comes late",
     ("let the chart create it, or set `serviceAccountName`",)),
    ("CREATE_FAILED", 23, "{workload}: its pods cannot be created: {what}", settle(5, 10, 60),
     "controller: FailedCreate", ("kubectl describe {workload} -n {namespace}",)),
    # --- volumes and scheduling
    ("PVC_PENDING", 25, "volume claim `{name}` is not bound: {what}", settle(5, 15, None),
     "K:concepts/storage/persistent-volumes#binding",
     ("kubectl get storageclass", "minikube addons enable default-storageclass",
      "minikube addons enable storage-provisioner")),
    ("UNSCHEDULABLE_CPU", 30, "{workload} does not fit: no node has the CPU it requests ({what})", SCHEDULE,
     _SCHEDULING, ("lower `resources.requests.cpu`, or give the cluster more CPUs",)),
    ("UNSCHEDULABLE_MEMORY", 30, "{workload} does not fit: no node has the memory it requests ({what})", SCHEDULE,
     _SCHEDULING, ("lower `resources.requests.memory`, or give the cluster more memory",)),
    ("UNSCHEDULABLE_STORAGE", 30, "{workload} does not fit: no node has the ephemeral storage it requests", SCHEDULE,
     _SCHEDULING, ("minikube ssh -- df -h /var",)),
    ("UNSCHEDULABLE_PODS", 30, "{workload} does not fit: every node runs as many pods as it may", SCHEDULE, _SCHEDULING,
     ("remove what is no longer needed, or raise the kubelet's `maxPods`",)),
    ("UNSCHEDULABLE_TAINT", 31, "{workload} does not tolerate the taints of any node: {what}", SCHEDULE, _SCHEDULING,
     ("kubectl describe node | grep Taints",)),
    ("UNSCHEDULABLE_SELECTOR", 31, "{workload}: no node meets its {what}", SCHEDULE, _SCHEDULING,
     ("compare `nodeSelector`, affinity and `topologySpreadConstraints` with `kubectl get nodes --show-labels`",)),
    ("UNSCHEDULABLE_PORT", 31, "{workload}: its host port is taken on every node", SCHEDULE, _SCHEDULING,
     ("drop `hostPort`; one node runs one pod of it",)),
    ("UNSCHEDULABLE_VOLUME", 32, "{workload} waits for a volume: {what}", SCHEDULE, _SCHEDULING,
     ("kubectl get pvc,pv -n {namespace}", "kubectl get storageclass")),
    ("UNSCHEDULABLE", 33, "{workload} cannot be scheduled: {what}", SCHEDULE, _SCHEDULING,
     ("kubectl describe pod {pod} -n {namespace}",)),
    ("SCHEDULING_GATE", 33, "{workload}: its pod waits for scheduling gate {what}", LATE,
     "K:concepts/scheduling-eviction/pod-scheduling-readiness",
     ("whoever removes the gate (a controller, such as one of a queue) must run in the cluster",
      "kubectl get pod {pod} -n {namespace} -o jsonpath='{{.spec.schedulingGates}}'")),
    ("POD_REJECTED", 34, "{workload}: the node rejected its pod: {what}",
     (Policy(count=1), Policy(count=3), DEADLINE), "K:concepts/scheduling-eviction/node-pressure-eviction",
     ("kubectl describe node",)),
    ("VOLUME_MOUNT", 35, "{workload} cannot mount {what}", settle(10, 20, 120), "kubelet: FailedMount",
     ("kubectl describe pod {pod} -n {namespace}",)),
    ("SANDBOX", 36, "{workload}: the node cannot create its pod sandbox: {what}", settle(30, 60, None),
     "kubelet: FailedCreatePodSandBox", ("minikube status", "minikube logs")),
    # --- images
    ("IMAGE_MAPPING", 40, "{workload}: `{image}` is not there; image `{name}` was built as `{built}`", CERTAIN, _IMAGES,
     ("correct `releases.*.images.{name}` in the spec: its values lead to another repository than the built one",)),
    ("IMAGE_NAME_INVALID", 40, "{workload}: `{image}` is not an image name", CERTAIN, _IMAGES,
     ("correct repository and tag (lower case, no spaces)",)),
    ("IMAGE_NEVER_PULL", 41, "{workload}: image `{image}` is not on the node and may not be pulled", CERTAIN, _IMAGES,
     ("minikube image ls", "build it into the cluster: `todo-deploy up --rebuild`")),
    ("IMAGE_NOT_FOUND", 42, "{workload}: image `{image}` does not exist", CERTAIN, _IMAGES,
     ("a locally built image needs `pullPolicy: IfNotPresent` or `Never` and the tag that was built",
      "minikube image ls")),
    ("IMAGE_DENIED", 42, "{workload}: pulling image `{image}` was denied", CERTAIN, _IMAGES,
     ("name a pull secret in `imagePullSecrets`; `registry.pullSecret` in the spec makes one",
      "kubectl get pod {pod} -n {namespace} -o jsonpath={{.spec.imagePullSecrets}}")),
    ("IMAGE_CERTIFICATE", 42, "{workload}: the node does not trust the registry's certificate for `{image}`", CERTAIN,
     _IMAGES, ("on every node: /etc/containerd/certs.d/HOST:PORT or /etc/docker/certs.d/HOST:PORT/ca.crt",
               "openssl s_client -connect HOST:PORT -showcerts")),
    ("IMAGE_HTTP", 42, "{workload}: the node wants https, and the registry of `{image}` speaks plain http", CERTAIN,
     _IMAGES, ("give the registry a certificate, or let every node's runtime use plain http for it",)),
    ("IMAGE_PLATFORM", 42, "{workload}: image `{image}` has no build for the node's platform", CERTAIN, _IMAGES,
     ("build it for the node's platform: `--platform`",)),
    ("IMAGE_RATE_LIMIT", 43, "{workload}: the registry limits pulls of `{image}`", settle(15, 30, None), _IMAGES,
     ("log in to the registry, use a mirror, or `minikube image load {image}`",)),
    ("IMAGE_NETWORK", 44, "{workload}: the node cannot reach the registry of `{image}`", settle(20, 45, None), _IMAGES,
     ("minikube ssh -- nslookup kubernetes.io", "check HTTP_PROXY and NO_PROXY",
      "minikube image load {image}")),
    ("IMAGE_PULL", 45, "{workload}: image `{image}` cannot be pulled", settle(10, 30, None), _IMAGES,
     ("kubectl describe pod {pod} -n {namespace}",)),
    # --- what a container needs before it can be created
    ("CONFIG_SECRET_MISSING", 46, "{workload} needs secret `{name}`, which does not exist", MISSING, _SECRETS,
     ("kubectl get secrets -n {namespace}",)),
    ("CONFIG_MAP_MISSING", 46, "{workload} needs config map `{name}`, which does not exist", MISSING, _SECRETS,
     ("kubectl get configmaps -n {namespace}",)),
    ("CONFIG_KEY_MISSING", 46, "{workload} needs {key}, which is not in {name}", MISSING, _SECRETS,
     ("add {key} to `.env` or to the values, then `todo-deploy up`",)),
    ("NON_NUMERIC_USER", 47, "{workload}: `runAsNonRoot` is set, and {what}", CERTAIN,
     "K:tasks/configure-pod-container/security-context",
     ("a numeric `USER 1001` in the Dockerfile, or `runAsUser: 1001` in the chart",)),
    ("CONFIG_CACHE", 48, "{workload}: the node has not yet read its configuration", settle(10, 30, None),
     "kubelet: failed to sync secret cache", ()),
    ("CREATE_CONTAINER", 49, "{workload}: container `{container}` cannot be created: {what}", settle(10, 20, 60),
     "kubelet: CreateContainerError", ("kubectl describe pod {pod} -n {namespace}",)),
    # --- the first process
    ("EXEC_FORMAT", 50, "{workload}: `{container}` starts {what}, which the node's platform cannot run", CERTAIN, _RUN,
     ("build the image for the node's platform", "a script needs its `#!` line first")),
    ("RUN_NO_SUCH_FILE", 50, "{workload}: `{container}` starts {what}, which is not in the image", CERTAIN, _RUN,
     ("check CMD, ENTRYPOINT and `command:`",)),
    ("LINE_ENDS", 50, "{workload}: `{container}` runs a script with CRLF line ends: it has {what}", CRASH, _PODS,
     ("save it with LF line ends (.gitattributes: `*.sh text eol=lf`)",
      "or in the Dockerfile, after its COPY: RUN sed -i 's/\\r$//' FILE")),
    ("INTERPRETER_MISSING", 50, "{workload}: `{container}` starts {what}, whose interpreter is missing (CRLF?)",
     CERTAIN, _PODS,
     ("a script: save it with LF line ends, and compare its `#!` line with what the image has (often no bash)",
      "a program: build it for the C library of the image (Alpine has musl)")),
    ("RUN_PERMISSION", 50, "{workload}: `{container}` may not execute {what}", settle(5, 20, 60), _RUN,
     ("RUN chmod +x in the Dockerfile, owned or readable by the user that runs it",)),
    ("RUN_FAILED", 51, "{workload}: `{container}` cannot be started: {what}", settle(10, 20, 60), _RUN,
     ("kubectl describe pod {pod} -n {namespace}",)),
    # --- processes that end
    ("OOM_KILLED", 52, "{workload}: `{container}` was killed for using more memory than its limit of {what}",
     (Policy(count=1), Policy(count=2), Policy(count=4)), "K:tasks/configure-pod-container/assign-memory-resource",
     ("raise `resources.limits.memory`", "kubectl top pod {pod} -n {namespace}")),
    ("READ_ONLY_FS", 53, "{workload}: `{container}` writes to {what}, which is read-only", CRASH, _PODS,
     ("mount an `emptyDir` there (`readOnlyRootFilesystem` stays on)",)),
    ("PORT_IN_USE", 53, "{workload}: `{container}` listens on {what}, which is already in use in its pod", CRASH, _PODS,
     ("two containers of a pod share its ports: give each its own",)),
    ("DB_PASSWORD", 53, "{workload}: the database refuses its password", CRASH, _PODS,
     ("the volume keeps the password it was made with: set the old one, change it in the database",
      "or remove the volume, and what is in it")),
    ("ENV_MISSING", 53, "{workload}: `{container}` needs the setting {what}", CRASH, _PODS,
     ("add it to `.env` or to the values, then `todo-deploy up`",)),
    ("MODULE_MISSING", 53, "{workload}: `{container}` lacks the module {what}", CRASH, _PODS,
     ("add it to the service's dependencies; the next `todo-deploy up` builds the image anew",)),
    ("FILE_PERMISSION", 54, "{workload}: `{container}` may not use {what}", CRASH, _PODS,
     ("`fsGroup` for volumes, `COPY --chown` for files of the image",)),
    ("NO_SPACE", 54, "{workload}: `{container}` has no space left on its disk", CRASH, _PODS,
     ("minikube ssh -- df -h", "minikube ssh -- docker system df")),
    ("JOB_FAILED", 56, "{workload} failed: {what}", CERTAIN, "K:concepts/workloads/controllers/job",
     ("kubectl logs {workload} -n {namespace}",)),
    ("POD_FAILED", 56, "{workload} failed, and nothing starts it again: {what}", CERTAIN, _PODS,
     ("kubectl logs {workload} -n {namespace}",)),
    ("RESOURCE_STALLED", 56, "{workload} is stalled: {what}", settle(5, 15, 60),
     "https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus",
     ("kubectl describe {workload} -n {namespace}",)),
    ("HOOK_FAILED", 56, "hook {workload} failed: {what}", CERTAIN, "a chart's hook is a Job",
     ("kubectl logs {workload} -n {namespace}",)),
    ("HOOK_TIMEOUT", 56, "hook {workload} did not finish within its timeout of {what}", CERTAIN,
     "helm upgrade --timeout", ("raise `releases.*.timeout` (or `rollout.timeout`) in the spec",
     "kubectl logs {workload} -n {namespace}")),
    ("INIT_FAILED", 57, "{workload}: init container `{container}` ended with {what}", CRASH, _PODS,
     ("kubectl logs {pod} -c {container} -n {namespace} {previous}",)),
    ("STARTUP_PROBE", 58, "{workload}: the startup probe of `{container}` does not succeed", PROBE, _PROBES,
     ("a slow start needs a higher `failureThreshold`",)),
    ("LIVENESS_PROBE", 58, "{workload}: `{container}` fails its liveness probe", PROBE, _PROBES,
     ("a slow start needs a `startupProbe`",)),
    ("CRASH_LOOP", 60, "{workload}: `{container}` ended with {what}", CRASH, _PODS,
     ("kubectl logs {pod} -c {container} -n {namespace} {previous}",)),
    # --- symptoms of others' faults
    ("STATEFULSET_BLOCKED", 65, "{workload}: its update waits for pod `{pod}`, which is not ready",
     settle(20, 60, None), "K:concepts/workloads/controllers/statefulset#forced-rollback",
     ("kubectl delete pod {pod} -n {namespace}",)),
    ("READINESS_PROBE", 70, "{workload}: `{container}` runs but its readiness probe does not succeed", LATE, _PROBES,
     ("kubectl logs {pod} -c {container} -n {namespace}",)),
    ("READINESS_GATE", 71, "{workload}: its containers are ready, its pod waits for readiness gate {what}", LATE,
     "K:concepts/workloads/pods/pod-lifecycle#pod-readiness-gate",
     ("whoever sets this condition (a controller, such as one of a load balancer) must run in the cluster",
      "kubectl get pod {pod} -n {namespace} -o jsonpath='{{.status.conditions}}'")),
    # Failing on the first crash is wrong for a service that ends until its database is up: five restarts are
    # about 150 s of back-off (10, 20, 40, 80 s), and none counts while what it waits for is still starting.
    ("DEPENDENCY", 80, "{workload}: `{container}` cannot reach {what}", (Policy(count=2), Policy(count=5), DEADLINE),
     _PODS, ("compare the address with the Service's name and port",)),
    ("SERVICE_NO_ENDPOINTS", 82, "service `{name}` selects no pod: {what}", settle(3, 10, 60),
     "K:tasks/debug/debug-application/debug-service", ("compare its selector with the pods' labels",)),
    ("INGRESS_NO_CONTROLLER", 84, "ingress `{name}` has no controller: {what}", LATE,
     "K:concepts/services-networking/ingress-controllers", ("cluster.addons: [ingress]", "todo-deploy up")),
    ("HPA_NO_METRICS", 86, "autoscaler `{name}` has no metrics: {what}", LATE,
     "K:tasks/run-application/horizontal-pod-autoscale", ("cluster.addons: [metrics-server]", "todo-deploy up")),
)  # fmt: skip

_SYMPTOMS: tuple[tuple[str, int, str, Policies, str, tuple[str, ...]], ...] = (
    ("PROGRESS_DEADLINE", 90, "{workload} made no progress within its `progressDeadlineSeconds`", CERTAIN,
     "K:concepts/workloads/controllers/deployment#failed-deployment",
     ("kubectl describe {workload} -n {namespace}",)),
    ("DEADLINE", 95, "the rollout did not end within its timeout", CERTAIN, "the run's own `--timeout`",
     ("raise `--timeout`", "kubectl get pods,events -n {namespace}")),
)  # fmt: skip

CAUSES: dict[str, Cause] = {
    code: Cause(code, title, rank, *policies, source=source, hints=hints, symptom=symptom)
    for table, symptom in ((_ROWS, False), (_SYMPTOMS, True))
    for code, rank, title, policies, source, hints in table
}
"""code → its row."""


def is_its_own(code: str) -> bool:
    """Whether the cause is what a workload's own processes do, and not what is around it."""
    return code in CAUSES and CAUSES[code].rank in _OF_ITS_OWN


def says_itself(code: str) -> bool:
    """Whether the cause is one that a container's log or status names, so that another attempt ends as this one did."""
    return code in CAUSES and CAUSES[code].rank in _SAID
