#!/bin/bash
# What the original's start script does first: look whether it was told a password, prepare the data directory once,
# become the server.
log() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) [$1] [Entrypoint] $2"; }

if [ "$1" = mysqld ]; then
    if [ -z "$MYSQL_ROOT_PASSWORD$MYSQL_ALLOW_EMPTY_PASSWORD$MYSQL_RANDOM_ROOT_PASSWORD" ] && [ ! -e /var/lib/mysql/rdock-lab ]; then
        log ERROR "there is no database yet, and nobody said which password it shall have" >&2
        log ERROR "set one of MYSQL_ROOT_PASSWORD, MYSQL_ALLOW_EMPTY_PASSWORD, MYSQL_RANDOM_ROOT_PASSWORD (run -e NAME=value)" >&2
        exit 1
    fi
    if [ -e /var/lib/mysql/rdock-lab ]; then
        log Note "finds the data directory as it was left, made on $(cat /var/lib/mysql/rdock-lab)"
    else
        log Note "prepares the data directory /var/lib/mysql"
        date -u +%Y-%m-%dT%H:%M:%SZ > /var/lib/mysql/rdock-lab
    fi
fi
exec "$@"
