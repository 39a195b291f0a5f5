# The slow half of the node image: Debian with systemd, ssh and Docker. No program of ours is in it yet, so it
# is built while those are compiled.
ARG BASE
FROM ${BASE}

# cri-dockerd needs Docker >= 23, which bookworm does not have: only Docker comes from trixie. systemd stays
# bookworm's 252, because from 256 on it refuses cgroup v1.
RUN sed -nE 's/^deb (\S+) bookworm(-security)? .*/deb \1 trixie\2 main/p' /etc/apt/sources.list \
      > /etc/apt/sources.list.d/trixie.list \
 && printf '%s\n' 'Package: *' 'Pin: release n=trixie*' 'Pin-Priority: 100' '' \
      'Package: docker.io docker-cli containerd docker-buildx' 'Pin: release n=trixie*' 'Pin-Priority: 990' \
      > /etc/apt/preferences.d/trixie \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      systemd systemd-sysv dbus openssh-server sudo procps \
      docker.io docker-cli docker-buildx containerd runc \
      iptables iproute2 kmod mount util-linux ethtool socat conntrack ebtables \
      openssl ca-certificates curl lz4 rsync iputils-ping \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && cp /etc/todo-deploy/ca-bundle.crt /etc/ssl/certs/ca-certificates.crt

# Minikube writes its own docker.service, which starts /usr/bin/dockerd.
RUN ln -s /usr/sbin/dockerd /usr/bin/dockerd
# While /run/nologin exists, ssh refuses the user through whom Minikube works.
RUN mkdir -p /etc/tmpfiles.d && ln -sf /dev/null /etc/tmpfiles.d/systemd-nologin.conf
# Units that touch the host's devices, consoles or kernel have no business in a container.
RUN systemctl mask systemd-udevd.service systemd-logind.service systemd-binfmt.service \
      systemd-firstboot.service systemd-modules-load.service getty.target console-getty.service \
      proc-sys-fs-binfmt_misc.automount sys-kernel-debug.mount sys-kernel-tracing.mount
COPY journald.conf /etc/systemd/journald.conf.d/node.conf
COPY sshd.conf /etc/ssh/sshd_config.d/node.conf
COPY hostpath-dir.service /etc/systemd/system/
COPY cri-docker.service cri-docker.socket /lib/systemd/system/
# Minikube replaces containerd's configuration and expects to find one.
RUN mkdir -p /etc/containerd && touch /etc/containerd/config.toml \
 && systemctl enable ssh docker.service docker.socket hostpath-dir.service cri-docker.socket \
 && systemctl disable containerd

# The account, folders and marks that Minikube looks for.
RUN groupadd -f docker && useradd -m -s /bin/bash -g docker -G sudo docker && usermod -p '*' docker \
 && install -d -m 0700 -o docker -g docker /home/docker/.ssh \
 && echo '%sudo ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/20-nopasswd && chmod 0440 /etc/sudoers.d/20-nopasswd \
 && mkdir -p /kind /etc/kubernetes/manifests /etc/cni/net.d /opt/cni/bin \
 && echo "todo-deploy node" > /kic.txt \
 && echo '{"iso_version":"todo-deploy","kicbase_version":"todo-deploy","minikube_version":"v1.38.1","commit":""}' \
      > /version.json
