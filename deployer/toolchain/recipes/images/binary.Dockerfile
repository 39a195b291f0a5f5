# One static program and nothing else; Kubernetes' manifests call these by name.
FROM scratch
ARG PROGRAM
COPY ${PROGRAM} /usr/local/bin/${PROGRAM}
