#!/usr/bin/env bash
# Installs the Debian packages that the tests use and this machine lacks: those of packages.txt, or those named as arguments.
# For root on Debian and its like. Elsewhere it does nothing, and tests whose program is missing are not run.
set -euo pipefail
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive
if ((EUID)) || ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then exit 0; fi

packages=("$@")
if ((${#packages[@]} == 0)); then
  mapfile -t packages < <(sed 's/#.*//' packages.txt | awk 'NF { print $1 }')
fi
mapfile -t installed < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null)
missing=()
for package in "${packages[@]}"; do
  [[ " ${installed[*]/%/ } " == *" installed $package "* ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

log=$(mktemp)
policy=/usr/sbin/policy-rc.d
ours=
trap 'rm -f "$log" $ours' EXIT
# The packages' services would take the ports that tests and demo use: nothing starts by itself.
if [[ ! -e $policy ]]; then
  ours=$policy
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod +x $policy
fi

install() {
  apt-get -qq -o Acquire::Retries=3 update || return
  # A distribution may lack one of them, as Ubuntu lacks chromium.
  local known=() package
  for package in "${missing[@]}"; do
    if apt-cache show --no-all-versions "$package" >/dev/null 2>&1; then
      known+=("$package")
    else
      echo "Not to be had here: $package"
    fi
  done
  ((${#known[@]})) || return 0
  apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends -y "${known[@]}"
}

echo "Installing ${missing[*]}"
for try in 1 2 3; do
  if install >"$log" 2>&1; then
    grep '^Not to be had' "$log" || true
    exit 0
  fi
  if ((try < 3)); then sleep $((5 * try)); fi
done
tail -n 40 "$log"
echo "They could not be installed. Tests that start their programs are not run."
# The service that runs the tests is meant to run all of them.
[[ -z ${CI:-} ]]
