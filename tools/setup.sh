#!/bin/sh
# Makes .venv ready, and says what to install where it may not do so itself.
#
#   tools/setup.sh run    what `make demo` needs: locked run-time dependencies, mosquitto
#   tools/setup.sh test   the same, and what `make test` needs: locked test dependencies, chromium
#   tools/setup.sh check  the same without mosquitto and chromium: what `make check` needs
#   tools/setup.sh image  the same as check, and what `make image` needs: a C compiler and cmake for this machine
#
# Everything comes from the lock files, by hash. Only Debian packages are installed outside .venv, and only by root or by
# a user with a password-free sudo. Run it again at any time: a stamp in .venv makes that quick.
set -eu
cd "$(dirname "$0")/.."
what="${1:-run}"
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { echo "set-up: $*" >&2; }
die() { say "$*"; exit 1; }

# --- Debian packages -------------------------------------------------------------------------------------------------
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

may_apt() {
    command -v apt-get >/dev/null 2>&1 && as_root true
}

# debian PACKAGE WHY: installs it, or ends with the one sentence that says what to do.
debian() {
    may_apt || die "$2 is missing and only root may install it: run 'apt-get install $1' as root, then the same command again."
    say "installing the Debian package $1 ($2)"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1" >&2 ||
        { as_root apt-get update >&2 && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1" >&2; } ||
        die "apt-get could not install $1 ($2): install it by hand, then run the same command again."
}

has() { PATH="$PATH:/usr/sbin:/usr/local/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }

# --- Python ----------------------------------------------------------------------------------------------------------
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-} python3.11 python3 python3.12 python3.13 python3.14; do
        if command -v "$candidate" >/dev/null 2>&1 && is_new_enough "$candidate"; then echo "$candidate"; return; fi
    done
    return 1
}

make_venv() {
    python="$(find_python)" || die "Python 3.11 or newer is missing: install it (Debian: apt-get install python3 python3-venv), then run the same command again."
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        debian "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv" "what Python needs to make a virtual environment"
    fi
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv || die "$python could not make a virtual environment in .venv; its own words are above."
}

# A .venv that was moved or copied with its folder names a Python that is not here: make it anew.
.venv/bin/python -m pip --version >/dev/null 2>&1 || make_venv

lock=requirements.lock
[ "$what" = run ] || lock=requirements-test.lock
stamp=".venv/stamp-$lock"
wanted="$(cat tools/setup.sh pyproject.toml requirements-assets.lock "$lock" | sha256sum)"
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    say "installing what $lock names (a minute or two, the first time)"
    pip=".venv/bin/python -m pip --quiet"
    again="is a package index in reach? Then run the same command again."
    $pip install --require-hashes --no-deps -r requirements-assets.lock >&2 || die "pip could not install requirements-assets.lock; $again"
    $pip install --require-hashes -r "$lock" >&2 || die "pip could not install $lock; $again"
    PYTHONWARNINGS=ignore $pip install --no-deps --no-build-isolation --editable . >&2 || die "pip could not install cartrace itself; its own words are above."
    echo "$wanted" >"$stamp"
fi

# --- programs that are not Python ------------------------------------------------------------------------------------
case $what in run | test) has mosquitto || debian mosquitto "mosquitto, the MQTT broker" ;; esac
case $what in test) has chromium || debian chromium "chromium, the browser of the page tests" ;; esac
if [ "$what" = image ]; then
    has gcc || { debian libc6-dev "the C library's headers"; debian gcc "gcc, the C compiler"; }
    for package in make cmake patch; do
        has "$package" || debian "$package" "$package, for the unit's image"
    done
    has xz || debian xz-utils "xz, for the unit's image"
fi
