"""Rollout: workloads and Helm hooks are watched until they are as wanted, or the cause that they are not is certain."""
