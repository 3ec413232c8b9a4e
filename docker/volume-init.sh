#!/bin/sh
# Give folders to users: volume-init.sh UID:GID=FOLDER...  What is right already is left alone.
set -eu
for pair in "$@"; do
    owner=${pair%%=*}
    folder=${pair#*=}
    [ "$(stat -c %u:%g "$folder")" = "$owner" ] || chown -R "$owner" "$folder"
done
