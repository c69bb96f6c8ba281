#!/usr/bin/env bash
# Builds the images of docker-compose.yml where there is no registry, and perhaps no network for builds.
#
#   ops/images/build.sh [TAG]       taskward/ROLE:TAG for each role; TAG is `latest` by default
#
# BASE_IMAGE names another base than the one that base.sh makes. Python packages come through this machine's own pip, with
# the hashes of ops/locks, into build/wheels. What has not changed is not made again.
set -euo pipefail
cd "$(dirname "$0")/../.."

tag=${1:-latest}
base=${BASE_IMAGE:-$(ops/images/base.sh)}
wheels=build/wheels
locks=(ops/locks/build.txt ops/locks/requirements.txt)
python=$(docker run --rm --network none --entrypoint python3 "$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
stamp=$(cat "${locks[@]}" <(printf %s "$python") | sha256sum)

if [ "$(cat "$wheels/.stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$wheels"
    mkdir -p "$wheels"
    for lock in "${locks[@]}"; do
        .venv/bin/python -m pip --quiet --disable-pip-version-check download --require-hashes --no-deps \
            --only-binary=:all: --python-version "$python" --dest "$wheels" --requirement "$lock"
    done
    printf '%s\n' "$stamp" >"$wheels/.stamp"
fi

# One context for all: the sources, and what the Dockerfile copies beside them.
context=$(mktemp)
trap 'rm -f "$context"' EXIT
tar --exclude=__pycache__ --exclude='*.egg-info' -cf "$context" ops/images ops/locks build/wheels services uploader signer proxy

build() { # ROLE [OPTION…]
    docker build --quiet --build-arg "BASE_IMAGE=$base" --target "$1" "${@:2}" --file ops/images/Dockerfile - <"$context" >/dev/null
}

build_role() { # ROLE
    local before
    before=$(docker image ls --quiet "taskward/$1:$tag")
    build "$1" --tag "taskward/$1:$tag"
    if [ -n "$before" ] && [ "$before" != "$(docker image ls --quiet "taskward/$1:$tag")" ]; then
        docker image rm "$before" >/dev/null 2>&1 || true # a container of the old one may still run
    fi
}

# First what all have in common, then the roles at once, which have next to nothing of their own.
build taskward
pids=()
for role in $(sed -n 's/^FROM taskward AS //p' ops/images/Dockerfile); do
    build_role "$role" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
