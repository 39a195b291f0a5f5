"""Every state word of the five data models, and the state of ours that it means."""

from __future__ import annotations

from deployer.status.phases import Absence, ClusterPhase, Phase, PodPhase, PvcPhase, ReleasePhase, ServicePhase, State

_WORDS: dict[tuple[str, str], dict[str, State]] = {
    ("S0", "Deployment"): {
        "Created": Phase.PENDING,  # "manifest applied": nothing runs yet
        "Progressing": Phase.PROGRESSING,
        "Available": Phase.AVAILABLE,
        "Updated": Phase.PROGRESSING,  # "rolling update in progress"
        "Degraded": Phase.DEGRADED,
        "Failed": Phase.FAILED,
    },
    ("S0", "Pod"): {
        "Pending": PodPhase.PENDING,
        "Running": PodPhase.RUNNING,
        "Succeeded": PodPhase.SUCCEEDED,
        "Failed": PodPhase.FAILED,
        "CrashLoopBackOff": PodPhase.CRASH_LOOP,
    },
    ("S0", "PersistentVolumeClaim"): {
        "Created": PvcPhase.PENDING,
        "Bound": PvcPhase.BOUND,
        "Released": Absence.ABSENT,  # the volume's word for "its claim was deleted"
    },
    ("S0", "Release"): {
        "Installed": ReleasePhase.DEPLOYED,
        "Updated": ReleasePhase.DEPLOYED,  # the revision before it is superseded
        "Rolled back": ReleasePhase.DEPLOYED,  # likewise: a rollback is a new revision
        "Uninstalled": ReleasePhase.UNINSTALLED,
    },
    ("S1", "Pod"): {
        "Pending": PodPhase.PENDING,
        "Running": PodPhase.RUNNING,
        "Terminating": PodPhase.TERMINATING,
        "Deleted": Absence.ABSENT,
        "Failed": PodPhase.FAILED,
        "CrashLoopBackOff": PodPhase.CRASH_LOOP,
    },
    ("S1", "Deployment"): {
        "Active": Phase.AVAILABLE,
        "Updating": Phase.PROGRESSING,
        "Paused": Phase.PAUSED,
        "Failed": Phase.FAILED,
    },
    ("S1", "Service"): {"Available": ServicePhase.AVAILABLE, "Unavailable": ServicePhase.UNAVAILABLE},
    ("S1", "Cluster"): {"Running": ClusterPhase.RUNNING, "Stopped": ClusterPhase.STOPPED},
    ("S2", "Release"): {
        "deployed": ReleasePhase.DEPLOYED,
        "failed": ReleasePhase.FAILED,
        "pending-install": ReleasePhase.PENDING_INSTALL,
        "pending-upgrade": ReleasePhase.PENDING_UPGRADE,
    },
    ("S2", "Pod"): {
        "Pending": PodPhase.PENDING,
        "Running": PodPhase.RUNNING,
        "Succeeded": PodPhase.SUCCEEDED,
        "Failed": PodPhase.FAILED,
        "Unknown": PodPhase.UNKNOWN,
    },
    ("S2", "Deployment"): {
        "(none)": Absence.ABSENT,
        "Pending": Phase.PENDING,
        "Progressing": Phase.PROGRESSING,
        "Available": Phase.AVAILABLE,
        "Failed": Phase.FAILED,
        "Stalled": Phase.STALLED,
    },
    ("S3", "Deployment"): {
        "No resources exist": Absence.ABSENT,
        "Pending": Phase.PENDING,
        "ContainerCreating": Phase.PROGRESSING,
        "Running": Phase.AVAILABLE,  # the end of its rollout sequence
    },
    ("S3", "Pod"): {
        "Pending": PodPhase.PENDING,
        "ContainerCreating": PodPhase.CREATING,
        "Running": PodPhase.RUNNING,
        "Ready": PodPhase.READY,
        "Terminating": PodPhase.TERMINATING,
        "CrashLoopBackOff": PodPhase.CRASH_LOOP,
    },
}  # S4 has no state words

SEED_WORDS: dict[tuple[str, str, str], State] = {
    (document, entity, word): state for (document, entity), words in _WORDS.items() for word, state in words.items()
}
"""(document, entity, word) → our state."""
