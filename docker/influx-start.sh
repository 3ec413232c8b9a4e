#!/bin/sh
# Start InfluxDB: influx-start.sh FOLDER_OF_THE_WRITE-AHEAD_LOG PROGRAM [OPTION...]
# A crash may leave a torn entry at the end of a shard's last segment. InfluxDB goes on writing behind
# it, yet cuts it off, and at the next start takes the hole for the end: all that it acknowledged in
# between is gone. Behind an empty segment, which it removes, it begins a new one instead.
set -eu
wal=$1
shift
for shard in "$wal"/*/*/*/; do
    last=
    for segment in "$shard"_*.wal; do
        last=$segment
    done
    [ -s "$last" ] || continue
    number=${last##*/_}
    # Its zeros would make it an octal number, but for the 1 in front of them.
    next=$((1${number%.wal} + 1))
    : > "${shard}_${next#1}.wal"
done
exec "$@"
