#!/usr/bin/env bash
# Build stand-ins for the public base images, under their names, on a host that reaches no
# container registry but does reach Debian and PyPI. Needs root (debootstrap) and a Docker engine.
#
#   ./scripts/standin_images.sh            build those that are missing
#   ./scripts/standin_images.sh --list     print the images and whether they are here
#   ./scripts/standin_images.sh --remove   remove the stand-ins
#
# FREQTRADE_VARIANT=_freqai builds freqtrade's image with FreqAI instead (2 GB).
# FreqUI and Chronograf are replaced by a static page: only what stands around them is then tested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly base=squeezeflow-standin/debian:trixie
readonly mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

readonly FREQTRADE_VARIANT=${FREQTRADE_VARIANT:-}

# Public name, Dockerfile in docker/standin, build arguments.
readonly images=(
    "python:3.13-slim|python|"
    "redis:7-alpine|redis|"
    "influxdb:1.8.10|influxdb|"
    "freqtradeorg/freqtrade:2026.9${FREQTRADE_VARIANT}|freqtrade|--build-arg EXTRA=${FREQTRADE_VARIANT#_}"
    "freqtradeorg/frequi:3.1.1|page|--build-arg TITLE=FreqUI --build-arg PORT=80"
    "chronograf:1.10.7|page|--build-arg TITLE=Chronograf --build-arg PORT=8888"
    "tecnativa/docker-socket-proxy:0.3.0|socket-proxy|"
)

say() { printf 'stand-in images: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
here() { docker image inspect "$1" >/dev/null 2>&1; }
is_standin() { [ "$(docker image inspect -f '{{index .Config.Labels "squeezeflow.standin"}}' "$1" 2>/dev/null)" = true ]; }

import_debian() {
    here "$base" && return
    command -v debootstrap >/dev/null || die "debootstrap is missing. Install it: apt-get install debootstrap"
    [ "$(id -u)" = 0 ] || die "debootstrap needs root. Run this script with sudo once."
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    say "unpacking Debian 13 from $mirror (about 40 s)"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,curl,wget \
        trixie "$folder" "$mirror" >"$folder.log" 2>&1 || die "debootstrap failed, see $folder.log"
    rm -f "$folder.log" "$folder"/var/cache/apt/archives/*.deb
    # A host behind an intercepting proxy trusts its authority; builds must as well.
    for bundle in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt; do
        if [ -n "$bundle" ] && [ -r "$bundle" ]; then
            cp "$bundle" "$folder/etc/ssl/certs/ca-certificates.crt"
            break
        fi
    done
    tar -C "$folder" -c . | docker import -c 'LABEL squeezeflow.standin=true' - "$base" >/dev/null
}

build() {
    local name=$1 file=$2 arguments=$3 context=docker/standin
    say "building $name"
    if [ "$file" = freqtrade ]; then
        context=$(mktemp -d)
        cp freqtrade/requirements.txt "$context/"
    fi
    # shellcheck disable=SC2086  # several arguments
    docker build --quiet -t "$name" -f "docker/standin/Dockerfile.$file" $arguments "$context" >/dev/null
    [ "$context" = docker/standin ] || rm -rf "$context"
}

docker info >/dev/null 2>&1 || die "no Docker engine answers. Start it, or ask for access to its socket."
case ${1:-} in
    "")
        for image in "${images[@]}"; do
            IFS='|' read -r name file arguments <<<"$image"
            here "$name" && continue
            import_debian
            build "$name" "$file" "$arguments"
        done
        say "complete"
        ;;
    --list)
        for image in "${images[@]}"; do
            name=${image%%|*}
            if is_standin "$name"; then echo "$name stand-in"
            elif here "$name"; then echo "$name public"
            else echo "$name missing"; fi
        done
        ;;
    --remove)
        for image in "${images[@]}"; do
            name=${image%%|*}
            if is_standin "$name"; then docker image rm "$name" >/dev/null; fi
        done
        if here "$base"; then docker image rm "$base" >/dev/null; fi
        ;;
    *)
        die "unknown option $1. Usage: $0 [--list | --remove]"
        ;;
esac
