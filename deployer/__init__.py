"""todo-deploy: from source to working URLs on a local Kubernetes cluster."""

__version__ = "0.1.0"
