# The node image for a machine without CAP_SYS_RESOURCE: runc-fit stands in runc's place, and no service asks
# for limits or scores that the machine refuses.
ARG NODE
FROM ${NODE}
COPY runc-fit /usr/libexec/runc-fit
RUN runc=$(readlink -f "$(command -v runc)") && mv "$runc" /usr/libexec/runc-real && ln -s /usr/libexec/runc-fit "$runc"
COPY bounds.conf /tmp/bounds.conf
RUN for unit in docker containerd ssh cri-docker kubelet; do \
      install -D -m 0644 /tmp/bounds.conf "/etc/systemd/system/$unit.service.d/bounds.conf"; \
    done && rm /tmp/bounds.conf
