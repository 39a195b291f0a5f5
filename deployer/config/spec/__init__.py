"""The spec: what one application needs to run, typed and validated (`todo-deploy.yaml`).

Only shapes and rules that hold without looking at the machine live here. Reading files, profiles and positions is
`specfile`'s work; what the spec leads to is `plan`'s.
"""

from deployer.config.spec.delivery import Cors, Release, Url
from deployer.config.spec.judging import Rollout, Rules, ServiceRollout
from deployer.config.spec.sources import Image, Migrations, Secret, SecretKeySource
from deployer.config.spec.surroundings import Build, Cluster, Env, Switch
from deployer.config.spec.whole import Spec
from deployer.config.types import (
    Duration,
    EnvName,
    Name,
    ObjectName,
    Part,
    Repository,
    SecretKey,
    Size,
    Version,
    mebibytes,
    path_keys,
    seconds,
)

__all__ = [
    "Build",
    "Cluster",
    "Cors",
    "Duration",
    "Env",
    "EnvName",
    "Image",
    "Migrations",
    "Name",
    "ObjectName",
    "Part",
    "Release",
    "Repository",
    "Rollout",
    "Rules",
    "Secret",
    "SecretKey",
    "SecretKeySource",
    "ServiceRollout",
    "Size",
    "Spec",
    "Switch",
    "Url",
    "Version",
    "mebibytes",
    "path_keys",
    "seconds",
]
