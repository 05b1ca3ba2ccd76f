#!/bin/sh
# Installs what a build of flash-moe needs and this machine lacks; with everything present it touches no network.
# usage: tools/install_dependencies.sh [--tests]
# Debian and its kin through apt (with sudo where not root), macOS through Homebrew; elsewhere it names what is needed.
set -eu

with_tests=no
[ "${1:-}" = --tests ] && with_tests=yes

has() { command -v "$1" >/dev/null 2>&1; }

fail() {
  echo "$0: $*" >&2
  exit 1
}

apt_installed() {
  case $1 in
    g++) has "${CXX:-c++}" ;;
    cmake) has cmake ;;
    ninja-build) has ninja ;;
    pkg-config) has pkg-config ;;
    *)
      # Another architecture's copy of the package doesn't count.
      dpkg-query -W -f '${Architecture} ${db:Status-Status}\n' "$1" 2>/dev/null |
        grep -qxE "(all|$architecture) installed"
      ;;
  esac
}

install_with_apt() {
  architecture=$(dpkg --print-architecture)
  packages="g++ cmake ninja-build pkg-config libfmt-dev nlohmann-json3-dev libcli11-dev libpcre2-dev libutf8proc-dev"
  packages="$packages libboost-dev libxxhash-dev liburing-dev libedit-dev"
  [ $with_tests = yes ] && packages="$packages libgtest-dev libgmock-dev"
  missing=
  for package in $packages; do
    apt_installed "$package" || missing="$missing $package"
  done
  # Markdown in the web page, which does without.
  missing_page=
  for package in libjs-marked node-dompurify node-highlight.js; do
    apt_installed "$package" || missing_page="$missing_page $package"
  done
  [ -z "$missing$missing_page" ] && return 0
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    if ! has sudo; then
      [ -z "$missing" ] && return 0
      fail "please run as root: apt-get install$missing$missing_page"
    fi
    as_root=sudo
  fi
  echo "== installing$missing$missing_page"
  # $as_root and the packages are lists of words.
  # shellcheck disable=SC2086
  { $as_root apt-get -qq update && apt_install $missing; } || [ -z "$missing" ] ||
    fail "apt-get could not install$missing; is there a network?"
  # shellcheck disable=SC2086
  apt_install $missing_page || echo "without$missing_page the web page shows answers as plain text"
}

apt_install() {
  [ $# -eq 0 ] ||
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

install_with_brew() {
  has c++ || fail "no C++ compiler; please run: xcode-select --install"
  packages="cmake ninja pkg-config fmt nlohmann-json cli11 pcre2 utf8proc boost xxhash"
  [ $with_tests = yes ] && packages="$packages googletest"
  missing=
  for package in $packages; do
    case $package in
      cmake | ninja | pkg-config) has "$package" ;;
      *) brew list --versions "$package" >/dev/null 2>&1 ;;
    esac || missing="$missing $package"
  done
  [ -z "$missing" ] && return 0
  echo "== installing$missing"
  # shellcheck disable=SC2086
  brew install --quiet $missing || fail "brew could not install$missing; is there a network?"
}

if has apt-get; then
  install_with_apt
elif [ "$(uname -s)" = Darwin ]; then
  has brew || fail "Homebrew is missing; see https://brew.sh, then run this again"
  install_with_brew
elif ! has cmake || ! has ninja || ! has pkg-config; then
  fail "please install a C++20 compiler, CMake 3.25, Ninja, pkg-config, fmt, nlohmann-json 3.11, CLI11, PCRE2, utf8proc, Boost 1.74, xxHash" \
    "and, if you like, liburing, libedit, and marked, DOMPurify and highlight.js (for the tests: GoogleTest)"
fi

version=$(cmake --version | sed -n 's/^cmake version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
[ "${version% *}" -gt 3 ] || { [ "${version% *}" -eq 3 ] && [ "${version#* }" -ge 25 ]; } ||
  fail "$(command -v cmake) is version ${version% *}.${version#* }; flash-moe needs 3.25 or newer"
