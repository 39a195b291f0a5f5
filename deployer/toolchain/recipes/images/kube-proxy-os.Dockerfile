# What kube-proxy calls to write its rules.
ARG BASE
FROM ${BASE}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends iptables conntrack kmod ipset nftables \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
