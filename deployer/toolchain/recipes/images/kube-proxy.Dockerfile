ARG OS
FROM ${OS}
COPY kube-proxy /usr/local/bin/kube-proxy
