#!/bin/sh
# Start Redis with the password from a file, which thus is on no command line.
set -eu
umask 077
password=$(cat "$REDIS_PASSWORD_FILE")
if [ -z "$password" ]; then
    echo "redis: $REDIS_PASSWORD_FILE is empty. Delete it and run ./scripts/up.sh, which makes a new one." >&2
    exit 78
fi
cat > /tmp/redis.conf <<CONF
include /usr/local/etc/redis/redis.conf
maxmemory ${REDIS_MAXMEMORY:-2gb}
maxmemory-policy ${REDIS_MAXMEMORY_POLICY:-allkeys-lru}
requirepass "$password"
CONF
exec redis-server /tmp/redis.conf
