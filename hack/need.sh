#!/usr/bin/env bash
# Installs Debian's packages for commands that are not there: need.sh command[=package]…
set -euo pipefail
missing=()
for want in "$@"; do
  command -v "${want%%=*}" >/dev/null || missing+=("${want#*=}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
# Others may be installing as well: a machine that has just started does so by itself.
apt-get -o DPkg::Lock::Timeout=600 update -q
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -q --no-install-recommends "${missing[@]}"
