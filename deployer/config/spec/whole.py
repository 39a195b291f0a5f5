"""The whole spec, whose parts name each other."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from deployer.config.spec.delivery import Cors, Release, Url
from deployer.config.spec.judging import Rollout, Rules
from deployer.config.spec.sources import Image, Secret
from deployer.config.spec.surroundings import Build, Cluster, Env, Switch
from deployer.config.types import Name, ObjectName, Part


class Spec(Part):
    """One application: its cluster, images, secrets, releases and URLs."""

    api_version: Literal["todo-deploy/v1"]
    """The format of this file."""
    application: Name
    """The application's name; with the cluster's name it identifies the deployment."""
    toolchain: Literal["auto", "path", "download", "source"] = "auto"
    """Where docker, minikube, helm, kubectl and the node image come from."""
    forward: Literal["auto", "always", "never"] = "auto"
    """Whether this machine serves the URLs itself: `auto` does where the node's address does not answer."""
    namespace: Name = "default"
    """Namespace of everything that names none."""
    cluster: Cluster = Cluster()
    """The cluster."""
    env: Env = Env()
    """The env files."""
    switches: dict[Name, Switch] = {}
    """Named conditions."""
    build: Build = Build()
    """Settings of all builds."""
    images: dict[Name, Image] = {}
    """Images to build."""
    secrets: dict[ObjectName, Secret] = {}
    """Secrets to make."""
    releases: dict[Name, Release] = Field(min_length=1)
    """Helm releases, installed in this order unless they may run side by side."""
    urls: dict[Name, Url] = {}
    """URLs to prove."""
    cors: dict[Name, Cors] = {}
    """Services whose CORS answers are to be proven."""
    rollout: Rollout = Rollout()
    """How rollouts are judged."""
    rules: Rules = Rules()
    """Limits."""
    allow_outside: tuple[str, ...] = ()
    """Files and folders outside the repository, relative to the spec, that its paths and the links of its charts may
    lead to; `validate` lists those that do."""

    @model_validator(mode="after")
    def _names_resolve(self) -> Spec:
        """Every switch, image, secret and release that is named exists, and no releases need each other."""
        unknown: list[str] = []
        uses = [("images", name, image.when) for name, image in self.images.items()]
        uses += [("secrets", name, secret.when) for name, secret in self.secrets.items()]
        uses += [("releases", name, release.when) for name, release in self.releases.items()]
        uses += [("urls", name, url.when) for name, url in self.urls.items()]
        unknown += [f"{kind}.{name}.when: no switch `{switch}`" for kind, name, switch in uses
                    if switch is not None and switch not in self.switches]  # fmt: skip
        unknown += [f"cors.{name}.urls: no url `{url}`" for name, one in self.cors.items() for url in one.urls
                    if url not in self.urls]  # fmt: skip
        for name, release in self.releases.items():
            where = f"releases.{name}"
            unknown += [f"{where}.images: no image `{image}`" for image in release.images if image not in self.images]
            unknown += [f"{where}.secrets: no secret `{secret}`" for secret in release.secrets
                        if secret not in self.secrets]  # fmt: skip
            unknown += [f"{where}.switches: no switch `{switch}`" for switch in release.switches
                        if switch not in self.switches]  # fmt: skip
            unknown += [f"{where}.needs: no release `{need}`" for need in release.needs if need not in self.releases]
        if unknown:
            raise ValueError("; ".join(unknown))
        left = {name: set(release.needs) for name, release in self.releases.items()}
        while free := [name for name, needs in left.items() if not needs & left.keys()]:
            for name in free:
                del left[name]
        if left:
            raise ValueError("these releases need each other: " + ", ".join(left))
        return self
