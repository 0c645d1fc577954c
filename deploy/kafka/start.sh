#!/bin/sh
# Formats the data directory the first time, then becomes the broker; writes to that directory and to
# /tmp alone. KAFKA_CLUSTER_ID names the cluster, for as long as its data lives.
set -eu
cd "${KAFKA_HOME:-/opt/kafka}"
here=$(dirname "$0")
export LOG_DIR=/tmp KAFKA_LOG4J_OPTS="-Dlog4j2.configurationFile=$here/log4j2.properties"
bin/kafka-storage.sh format --ignore-formatted \
    --cluster-id "${KAFKA_CLUSTER_ID:?}" --config "$here/server.properties" >/dev/null
exec bin/kafka-server-start.sh "$here/server.properties"
