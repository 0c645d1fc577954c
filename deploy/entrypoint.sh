#!/bin/sh
# Starts Meshweir in a container whose file system is read-only.
#
# Numba refuses to start where it cannot write its cache, and writes beside what it reads. So the
# kernels compiled with the image are linked into a directory in memory: nothing is copied, and a
# kernel that was not compiled with the image is compiled once and kept until the container ends.
set -eu
compiled=${NUMBA_CACHE_DIR:?says where the image keeps its compiled kernels}
NUMBA_CACHE_DIR=$(mktemp -d "${TMPDIR:-/tmp}/kernels.XXXXXX") || {
    echo "meshweir: ${TMPDIR:-/tmp} cannot be written to: mount a tmpfs there" >&2
    exit 1
}
cp -rs "$compiled/." "$NUMBA_CACHE_DIR"
chmod -R u+w "$NUMBA_CACHE_DIR"
export NUMBA_CACHE_DIR
exec "$@"
