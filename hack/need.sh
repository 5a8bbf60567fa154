#!/usr/bin/env bash
# Installs Debian's packages for commands that are not there: need.sh command[=package]…
set -euo pipefail
missing=()
for want in "$@"; do
  command -v "${want%%=*}" >/dev/null || missing+=("${want#*=}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
