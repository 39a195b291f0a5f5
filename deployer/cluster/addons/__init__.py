"""Cluster addons: what an application needs beside Kubernetes itself, by Minikube's names for it.

`table` says what each is made of, `manifests` makes the objects, `supply` the images and the certificates, and
`cluster` ties them to a cluster: `ensure` for `up`, `look` for `status` and `doctor`.
"""
