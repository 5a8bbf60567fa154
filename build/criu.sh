#!/bin/sh
# Lays out Debian's CRIU for nodes that have none: criu.sh ARCHITECTURE DIRECTORY.
#
#   DIRECTORY/VERSION/criu       with the libraries and the loader beside it, whatever the node's are
#   DIRECTORY/VERSION/lib/       those
#   DIRECTORY/VERSION/packages   name, version and source of what they are from, one a line
#   DIRECTORY/VERSION/copyright/ their licences
#
# The packages are of ARCHITECTURE and only unpacked: that may be another than this machine's.
set -eu
arch=$1 out=$2
home=/opt/ms2m/criu # where the node agent puts DIRECTORY's contents

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
apt-get update -q
command -v patchelf >/dev/null || apt-get install -y -q --no-install-recommends patchelf
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root"
touch "$work/status"
# As on a machine where nothing is installed, so that nothing needed is left out.
foreign() {
  apt-get -q -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o Dir::State::status="$work/status" \
    -o Dir::State::lists="$work/lists" -o Dir::Cache::archives="$work/archives" -o APT::Sandbox::User=root "$@"
}
foreign update
foreign install -y --download-only --no-install-recommends criu
for deb in "$work"/archives/*.deb; do dpkg-deb -x "$deb" "$work/root"; done

deb=$(ls "$work"/archives/criu_*.deb)
version=$(dpkg-deb -f "$deb" Version)
dir=$out/$version
mkdir -p "$dir/lib" "$dir/copyright"
cp "$work/root/usr/sbin/criu" "$dir/criu"

# What it needs, and what that needs.
todo=$dir/criu
while [ -n "$todo" ]; do
  next=
  for file in $todo; do
    for name in $(patchelf --print-needed "$file"); do
      [ -e "$dir/lib/$name" ] && continue
      found=$(find "$work/root" -name "$name" | head -n 1)
      [ -n "$found" ] || { echo "criu.sh: no package has $name, which $file needs" >&2; exit 1; }
      cp -L "$found" "$dir/lib/$name"
      next="$next $dir/lib/$name"
    done
  done
  todo=$next
done
loader=$(basename "$(patchelf --print-interpreter "$dir/criu")")
[ -e "$dir/lib/$loader" ] || cp -L "$(find "$work/root" -name "$loader" | head -n 1)" "$dir/lib/$loader"
for lib in "$dir"/lib/*; do
  case $lib in */ld-linux*) continue ;; esac
  # shellcheck disable=SC2016 # $ORIGIN is the loader's
  patchelf --force-rpath --set-rpath '$ORIGIN' "$lib"
done
# shellcheck disable=SC2016
patchelf --force-rpath --set-rpath '$ORIGIN/lib' --set-interpreter "$home/$version/lib/$loader" "$dir/criu"

# The packages of the files that were taken.
for deb in "$work"/archives/*.deb; do
  dpkg-deb -c "$deb" | awk '{ sub(".*/", "", $6); print $6 }' >"$work/files"
  taken=
  for file in criu $(ls "$dir/lib"); do
    if grep -qx "$file" "$work/files"; then taken=yes; fi
  done
  [ -n "$taken" ] || continue
  # shellcheck disable=SC2016 # the fields are dpkg-deb's
  dpkg-deb -W --showformat='${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n' "$deb" >>"$dir/packages"
  package=$(dpkg-deb -f "$deb" Package)
  [ ! -e "$work/root/usr/share/doc/$package/copyright" ] || cp -L "$work/root/usr/share/doc/$package/copyright" "$dir/copyright/$package"
done
chmod -R go=rX "$dir"
