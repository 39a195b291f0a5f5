#!/bin/sh
# Brings a fresh Debian tree up to date from its own sources. Run in a mount namespace of its own.
set -eu
root=$1
export DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc "$root/proc"
chroot "$root" apt-get -o APT::Update::Error-Mode=any update
chroot "$root" apt-get -y --no-install-recommends upgrade
