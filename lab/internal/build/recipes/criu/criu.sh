#!/bin/sh
# Runs criu with the library that mends it for this kind of machine (compat.c).
LD_PRELOAD="$(dirname "$0")/compat.so" exec /usr/sbin/criu "$@"
