#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the few system libraries that Blender's wheel needs and a minimal Debian lacks; with the
# argument "test" also Open3D's, and Chromium, without which the tests of the pages are skipped.
# Does nothing where they are there already; says what to install where it cannot do it itself.
set -eu

[ "$(uname -s)" = Linux ] || exit 0

has() { ldconfig -p 2>/dev/null | grep -q "$1" || /sbin/ldconfig -p 2>/dev/null | grep -q "$1"; }
missing=""
optional=""  # tests that need it are skipped without
need() { has "$1" || missing="$missing $2"; }

need libXrender.so.1 libxrender1
need libXfixes.so.3 libxfixes3
need libXi.so.6 libxi6
need libxkbcommon.so.0 libxkbcommon0
need libSM.so.6 libsm6
need libGL.so.1 libgl1
# Debian's python3 comes without the module that makes virtual environments.
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null 2>&1 || missing="$missing python3.11"
"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing python3.11-venv"

if [ "${1:-}" = test ]; then
    need libusb-1.0.so.0 libusb-1.0-0
    need libgomp.so.1 libgomp1
    command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
        command -v google-chrome >/dev/null 2>&1 || optional=" chromium"
fi

[ -n "$missing$optional" ] || exit 0
if [ -z "$missing" ] && { ! command -v apt-get >/dev/null 2>&1 ||
    { [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null 2>&1; }; }; then
    echo "Not installed:$optional. Tests that need it are skipped." >&2
    exit 0
fi
missing="$missing$optional"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "Missing:$missing (Debian's names), and there is no apt-get here." >&2
    echo "Install the same libraries with your system's package manager, then run make again." >&2
    exit 2
fi
sudo=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Missing:$missing. As root, run:" >&2
        echo "  apt-get update && apt-get install --no-install-recommends$missing" >&2
        exit 2
    fi
    sudo=sudo
fi
echo "Installing system libraries:$missing" >&2
$sudo apt-get update -qq
# shellcheck disable=SC2086  (a list of package names)
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
