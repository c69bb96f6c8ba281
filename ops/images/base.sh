#!/usr/bin/env bash
# Makes a base image for ops/images/Dockerfile without any registry, and prints its name.
#
# It is this system's own release (Debian or Ubuntu, from the mirror that its apt uses), put together by debootstrap with
# the packages that the Dockerfile asks for. Its name follows from what goes into it, so a second call makes nothing.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf 'base image: %s\n' "$*" >&2; }

[ "$(id -u)" = 0 ] || { say "error: debootstrap needs root"; exit 1; }
command -v debootstrap >/dev/null || { say "error: no debootstrap; install it: apt-get install debootstrap"; exit 1; }

# shellcheck disable=SC1091
release=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' |
    awk -v release="$release" '$2 == release { print $1; exit }')
components=$(apt-get indextargets --format '$(COMPONENT) $(CODENAME)' 'Created-By: Packages' |
    awk -v release="$release" '$2 == release && ($1 == "main" || $1 == "universe") { print $1 }' | sort -u | paste -sd,)
packages=python3,$(sed -n 's/^RUN .*taskward-packages //p' Dockerfile | tr ' ' '\n' | sort -u | paste -sd,)
[ -n "$mirror" ] || { say "error: apt knows no mirror of $release; run: apt-get update"; exit 1; }

name=taskward-base:$(cat base.sh <(printf '%s' "$release $components $packages") | sha256sum | cut -c1-16)
if [ -z "$(docker image ls --quiet "$name")" ]; then
    say "debootstrap of $release"
    # In memory, since dpkg waits for the disk after each file otherwise; nobody else sees the mount, and it ends with us.
    export mirror components packages release name
    unshare --mount --propagation private bash -euo pipefail -c '
        root=$(mktemp -d)
        trap "umount --lazy \"$root\" && rmdir \"$root\"" EXIT
        mount -t tmpfs -o mode=755,dev taskward-base "$root"
        debootstrap --variant=minbase --components="$components" --include="$packages" "$release" "$root" "$mirror" >&2
        cd "$root"
        (cd tmp && apt-get -qq download x11-utils) # for the one program that the Dockerfile wants of it
        dpkg-deb --fsys-tarfile tmp/x11-utils_*.deb | tar -x ./usr/bin/xdpyinfo
        rm tmp/x11-utils_*.deb
        rm -rf var/cache/apt/* var/lib/apt/lists/* usr/share/doc/* usr/share/man/* usr/share/locale/* usr/share/info/*
        tar --numeric-owner --exclude="./proc/*" --exclude="./sys/*" -c . | docker import --change "CMD [\"bash\"]" - "$name" >&2
    ' 2>"${TMPDIR:-/tmp}/taskward-base.log" || { tail -n 20 "${TMPDIR:-/tmp}/taskward-base.log" >&2; exit 1; }
fi
printf '%s\n' "$name"
