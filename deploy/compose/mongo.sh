#!/bin/bash
# Starts MongoDB as a replica set of one with users; members know each other by the key. Runs as the user mongodb.
set -euo pipefail
umask 077
printf %s "$MONGO_KEY" > /tmp/key
export MONGO_INITDB_ROOT_USERNAME=admin MONGO_INITDB_ROOT_PASSWORD="$MONGO_ADMIN_PASSWORD"
unset MONGO_KEY MONGO_ADMIN_PASSWORD
exec docker-entrypoint.sh mongod --replSet rs0 --keyFile /tmp/key --bind_ip_all
