#!/bin/sh
# Starts Meshweir where the file system is read-only, as in the containers of docker-compose.yml.
#
# Numba does not start where it cannot write its cache, and writes beside what it reads. So the
# kernels that were compiled with the image are linked into a directory in memory: none is copied,
# and one that was not compiled with the image is compiled once and kept as long as the container.
set -eu
compiled=${NUMBA_CACHE_DIR:?must name the directory of the kernels compiled with the image}
NUMBA_CACHE_DIR=$(mktemp -d "${TMPDIR:-/tmp}/kernels.XXXXXX") || {
    echo "entrypoint: ${TMPDIR:-/tmp} cannot be written to; mount a tmpfs there" >&2
    exit 1
}
cp -rs "$compiled/." "$NUMBA_CACHE_DIR"
chmod -R u+w "$NUMBA_CACHE_DIR"
export NUMBA_CACHE_DIR
exec "$@"
