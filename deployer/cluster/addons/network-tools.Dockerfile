# One program that calls iptables and ipset, on the image that has them for kube-proxy.
ARG OS
FROM ${OS}
ARG PROGRAM
COPY ${PROGRAM} /usr/local/bin/${PROGRAM}
