#!/bin/sh
# taskward-packages NAME…: installs the Debian packages that are missing; needs no network when all are there.
set -eu
missing=
for name in "$@"; do
    dpkg-query --show --showformat '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing="$missing $name"
done
[ -n "$missing" ] || exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086 - a list of names
apt-get -qq -y --no-install-recommends install $missing >/dev/null
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
