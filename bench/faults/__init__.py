"""Faults injected into the real application on the real cluster, and healthy rollouts that must raise no alarm."""
