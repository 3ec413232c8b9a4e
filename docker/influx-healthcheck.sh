#!/bin/sh
# Healthy if a query with the stack's login is answered. Before influx-init has created that login,
# InfluxDB says so; that must count as healthy, since influx-init waits for it.
password=$(cat /run/secrets/influx_password) || exit 1
answer=$(INFLUX_PASSWORD=$password influx -execute 'SHOW DATABASES' 2>&1) && exit 0
case $answer in
    *"create admin user first"*) exit 0 ;;
esac
printf '%s\n' "$answer" >&2
exit 1
