#!/bin/sh
# Makes the secrets that docker-compose.yml asks for; keeps those that are there.
#
# They are files, of which each service is given its own; the directory is yours alone. The files can
# be read by all, since Compose mounts them as they are into containers that run as other users.
set -eu
cd "$(dirname "$0")"
random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }
mkdir -p -m 700 secrets
for name in api_token catalog_password grafana_password pseudonym_key; do
    [ -s "secrets/$name" ] || random >"secrets/$name"
    chmod 444 "secrets/$name"
done
environment=../.env
if ! grep -qs '^MESHWEIR_INTAKE_TOKEN=.' "$environment"; then
    (umask 077 && echo "MESHWEIR_INTAKE_TOKEN=$(random)" >>"$environment")
fi
echo "deploy/secrets holds the API's token and Grafana's password (user admin), .env the token of senders"
