"""What `up` leads to, complete before anything is touched: tags, Secret names and Helm values are final here.

Pure: the spec, the env values, the digests of the sources and a few facts go in; a `Plan` comes out. Images and Secrets
are named by their content, so that "nothing changed" is an equality and a rollback restores the exact image and Secret.
"""

from deployer.plan.make import (
    BASE_LABEL,
    build_args,
    filled,
    in_registry,
    make_plan,
    url_plans,
    with_digests,
)
from deployer.plan.model import (
    ChartSource,
    CorsPlan,
    Facts,
    ImagePlan,
    ImageSource,
    Plan,
    ReleasePlan,
    SecretPlan,
    UrlPlan,
)
from deployer.plan.secrets import expand, generated_keys, images_on, is_on, missing_keys, switch_states, wanted_keys

__all__ = [
    "BASE_LABEL",
    "ChartSource",
    "CorsPlan",
    "Facts",
    "ImagePlan",
    "ImageSource",
    "Plan",
    "ReleasePlan",
    "SecretPlan",
    "UrlPlan",
    "build_args",
    "expand",
    "filled",
    "generated_keys",
    "images_on",
    "in_registry",
    "is_on",
    "make_plan",
    "missing_keys",
    "switch_states",
    "url_plans",
    "wanted_keys",
    "with_digests",
]
