# iptables is in what kube-proxy stands on.
ARG OS
FROM ${OS}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends iproute2 \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY kindnetd /usr/local/bin/kindnetd
ENTRYPOINT ["/usr/local/bin/kindnetd"]
