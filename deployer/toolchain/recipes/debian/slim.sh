#!/bin/sh
# Takes out of a fresh Debian tree what no container needs.
set -eu
root=$1
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/* \
  "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/* \
  "$root"/var/log/*.log "$root"/debootstrap
# Packages create their own man page folders only where the parent is there.
mkdir -p "$root"/usr/share/man/man1 "$root"/usr/share/man/man7 "$root"/usr/share/man/man8
