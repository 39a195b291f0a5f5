"""Stages: steps that lead the cluster to a part of the plan, each observing first and changing only what differs."""
