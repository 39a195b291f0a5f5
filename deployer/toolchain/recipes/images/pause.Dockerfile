# Debian's catatonit in pause mode does what Kubernetes' pause does: sleep, and reap orphans.
ARG BASE
FROM ${BASE} AS debian
RUN apt-get update && apt-get install -y --no-install-recommends catatonit && apt-get clean && rm -rf /var/lib/apt/lists/*

FROM scratch
COPY --from=debian /usr/bin/catatonit /pause
ENTRYPOINT ["/pause", "-P"]
