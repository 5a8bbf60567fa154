#!/bin/sh
# What CRIU takes by itself: a process with so many bytes of noise is dumped, the
# images are copied, the process is restored from the copy. Prints the size of the
# images, and the nanoseconds of the three.
#
#	floor.sh BYTES
set -e
d=$(mktemp -d /tmp/ms2m-floor.XXXXXX)
pid=
trap 'test -z "$pid" || kill -9 "$pid" 2>/dev/null || true; rm -rf "$d"' EXIT
# shellcheck disable=SC2016 # the dollars are Perl's
setsid perl -e 'open F, "<", "/dev/urandom"; read F, $x, $ARGV[0]; close F; open R, ">", $ARGV[1]; close R; sleep 1 while 1' "$1" "$d/ready" </dev/null >/dev/null 2>&1 &
pid=$!
while [ ! -e "$d/ready" ]; do sleep 0.02; done
mkdir "$d/images"
begin=$(date +%s%N)
criu dump -t "$pid" -D "$d/images" -o dump.log || { tail -n 5 "$d/images/dump.log" >&2; exit 1; }
dumped=$(date +%s%N)
wait "$pid" || true
bytes=$(du -sb "$d/images" | cut -f1)
copying=$(date +%s%N)
cp -r "$d/images" "$d/copy"
copied=$(date +%s%N)
criu restore -d -D "$d/copy" -o restore.log || { tail -n 5 "$d/copy/restore.log" >&2; exit 1; }
restored=$(date +%s%N)
echo "$bytes $((dumped-begin)) $((copied-copying)) $((restored-copied))"
