#!/usr/bin/env bash
# `make install`, `rollback-install` and `uninstall`. The Makefile passes the places as variables.
#
#   PREFIX/versions/VERSION/   an environment that nothing changes once it is complete
#   PREFIX/current, previous   links to two of them; a station runs what `current` named when it started
set -euo pipefail
cd "$(dirname "$0")/.."
# The service's user reads all of it, whatever the umask of whoever installs.
umask 022

at=$DESTDIR$PREFIX
marker=$at/.linegate
command=$DESTDIR$BINDIR/linegate

fail() {
  echo "$*" >&2
  exit 1
}

# The files that git tracks, as they are in the working tree; of a tree without git, all but what the targets made.
export_sources() {
  if git -c safe.directory="$PWD" ls-files -z >"$work/files" 2>/dev/null && [[ -s $work/files ]]; then
    tar --create --null --files-from="$work/files" --ignore-failed-read 2>/dev/null | tar --extract --directory="$1"
  else
    tar --create --exclude='./.venv*' --exclude=./build --exclude='./*.egg-info' --exclude=./.git . |
      tar --extract --directory="$1"
  fi
}

version_of_sources() {
  "$SYSTEM_PYTHON" -c 'import pathlib, runpy; root = pathlib.Path.cwd()
print(runpy.run_path("daemon/version.py")["of_source"](root))'
}

# Whether a process of this machine runs from $1, which ends with a slash where it is a folder.
in_use() {
  # The words come by a pipe: grep's own command line must not hold them.
  [[ -z $DESTDIR ]] && grep -qsF -f <(echo "$1") /proc/[0-9]*/cmdline /proc/[0-9]*/maps
}

# $1 becomes `current`, and with it the unit and the folders that belong to it.
activate() {
  local share=$at/versions/$1/share/linegate before
  before=$(readlink "$at/current" 2>/dev/null || true)
  ln -sfn "versions/$1" "$at/.next"
  mv -T "$at/.next" "$at/current"
  if [[ -n $before && $before != "versions/$1" ]]; then
    ln -sfn "$before" "$at/.next"
    mv -T "$at/.next" "$at/previous"
  fi

  install -m 0644 -D "$share/systemd/linegate@.service" "$DESTDIR$UNITDIR/linegate@.service"
  install -m 0644 -D "$share/systemd/linegate.sysusers" "$DESTDIR$SYSUSERSDIR/linegate.conf"
  install -m 0644 -D "$share/systemd/linegate.tmpfiles" "$DESTDIR$TMPFILESDIR/linegate.conf"
  # Older ones would log the two settings as unknown at every start.
  if [[ $(systemctl --version 2>/dev/null | awk 'NR == 1 { print $2 }') -ge 254 ]]; then
    install -m 0644 -D "$share/systemd/backoff.conf" "$DESTDIR$UNITDIR/linegate@.service.d/backoff.conf"
  fi
  if [[ -z $DESTDIR ]]; then
    systemd-sysusers linegate.conf
    systemd-tmpfiles --create linegate.conf
    [[ ! -d /run/systemd/system ]] || systemctl daemon-reload
  fi

  install -d "$(dirname "$command")"
  if [[ -e $command || -L $command ]] && [[ $(readlink "$command") != "$PREFIX/current/bin/linegate" ]]; then
    echo "$command is not linegate's and stays. The program is $PREFIX/current/bin/linegate."
  else
    ln -sfn "$PREFIX/current/bin/linegate" "$command"
  fi
}

# What went before stays for the way back; older ones go, but never one that still runs.
prune() {
  local path name kept=0
  while read -r path; do
    name=$(basename "$path")
    if [[ $(readlink "$at/current") == "versions/$name" || $(readlink "$at/previous") == "versions/$name" ]]; then
      kept=$((kept + 1))
    elif ((kept < KEEP)) && [[ -e $path/.complete ]]; then
      kept=$((kept + 1))
    elif in_use "$PREFIX/versions/$name/"; then
      echo "A station still runs from version $name: it stays until the next install."
    else
      rm -rf "$path"
    fi
  done < <(ls -dt "$at"/versions/*/)
  [[ ! -e $at/pyvenv.cfg ]] || prune_flat
}

# Before there were versions, $PREFIX itself was the environment.
prune_flat() {
  if in_use "$PREFIX/bin/" || in_use "$PREFIX/lib/"; then
    echo "A station still runs from the old environment in $PREFIX/bin and lib: restart it; the next install removes them."
    return
  fi
  (cd "$at" && rm -rf bin lib lib64 include share pyvenv.cfg)
  # Scripts and drop-ins may name it.
  ln -sfn current/bin "$at/bin"
}

do_install() {
  if [[ -e $at && ! -e $marker && -n $(ls -A "$at") ]]; then
    fail "$at holds something else; name another place: make install PREFIX=..."
  fi
  install -d "$at/versions"
  touch "$marker"
  # One that was broken off is no version.
  local path
  for path in "$at"/versions/*/; do [[ ! -d $path || -e $path/.complete ]] || rm -rf "$path"; done

  local sources=$work/linegate version name n=1 wheel
  mkdir "$sources"
  export_sources "$sources"
  version=$(version_of_sources)
  # What is exported has no history: a source distribution's way to know its version.
  printf 'Metadata-Version: 2.1\nName: linegate\nVersion: %s\n' "$version" >"$sources/PKG-INFO"
  name=$version
  while [[ -e $at/versions/$name ]]; do
    n=$((n + 1))
    name=$version-$n
  done
  local there=$at/versions/$name
  echo "linegate $version goes to $PREFIX/versions/$name: about 650 MB on disk, 200 MB of them downloaded; torch, where EXTRAS asks for it, is 3 GB to download and 5.5 GB more."

  "$SYSTEM_PYTHON" -m venv "$there"
  local pip=("$there/bin/python" -m pip --disable-pip-version-check)
  "${pip[@]}" wheel --quiet --no-deps --wheel-dir "$work" "$sources"
  wheel=$(echo "$work"/linegate-*.whl)
  "${pip[@]}" install --constraint constraints.txt "$wheel$EXTRAS"
  if [[ -n $DESTDIR ]]; then
    # A staged environment names the place that it will have, not the one where it was made.
    grep -rlI -- "$at" "$there/bin" "$there/pyvenv.cfg" | xargs -r sed -i "s|$at|$PREFIX|g"
  fi
  install -m 0644 -D -t "$there/share/linegate/systemd" systemd/*.service systemd/backoff.conf systemd/example.yaml \
    systemd/linegate.sysusers systemd/linegate.tmpfiles
  sed -i "s|/opt/linegate|$PREFIX|g" "$there/share/linegate/systemd"/{linegate@.service,example.yaml}
  touch "$there/.complete"

  install -d -m 0750 "$DESTDIR$SYSCONFDIR/linegate"
  [[ -e $DESTDIR$SYSCONFDIR/linegate/example.yaml ]] ||
    install -m 0644 "$there/share/linegate/systemd/example.yaml" "$DESTDIR$SYSCONFDIR/linegate/example.yaml"
  activate "$name"
  prune
  cat <<END

Installed linegate $version. Nothing was started, and stations that run go on with the version that they have.
Next, with a NAME for the station:
  cp $SYSCONFDIR/linegate/example.yaml $SYSCONFDIR/linegate/NAME.yaml   # and edit it
  linegate check $SYSCONFDIR/linegate/NAME.yaml
  systemctl enable --now linegate@NAME      # after an upgrade: systemctl restart linegate@NAME
END
}

do_rollback() {
  [[ -e $marker ]] || fail "linegate is not installed in $at"
  local name=${VERSION:-$(basename "$(readlink "$at/previous" || true)")}
  [[ -n $name ]] || fail "There is no version before this one in $at/versions."
  [[ -e $at/versions/$name/.complete ]] ||
    fail "There is no version $name in $at/versions. There are: $(cd "$at/versions" && echo *)"
  activate "$name"
  echo "linegate is $name again. Stations take it when they are restarted: systemctl restart 'linegate@*'"
}

do_uninstall() {
  [[ -e $marker ]] || fail "linegate is not installed in $at"
  local stations=
  if [[ -z $DESTDIR ]]; then
    # `disable` takes no patterns. A station between two tries of a start runs, too.
    stations=$(systemctl list-units --plain --no-legend --state=active,activating,reloading,deactivating 'linegate@*' \
      2>/dev/null | awk '{ printf " %s", $1 }') || stations=
  fi
  [[ -z $stations ]] || fail "Stop the stations first: systemctl disable --now$stations"
  rm -rf "$at/versions" "$at/current" "$at/previous" "$DESTDIR$UNITDIR/linegate@.service.d"
  if [[ -e $at/pyvenv.cfg || -L $at/bin ]]; then (cd "$at" && rm -rf bin lib lib64 include share pyvenv.cfg); fi
  rm -f "$DESTDIR$UNITDIR/linegate@.service" "$DESTDIR$SYSUSERSDIR/linegate.conf" "$DESTDIR$TMPFILESDIR/linegate.conf"
  [[ $(readlink "$command") != "$PREFIX/current/bin/linegate" ]] || rm -f "$command"
  [[ -n $DESTDIR || ! -d /run/systemd/system ]] || systemctl daemon-reload
  if [[ $(ls -A "$at") == .linegate ]]; then
    rm -r "$at"
  else
    # Its models folder may hold bundles that were trained there.
    echo "Kept: $(cd "$at" && printf "$PREFIX/%s " *)"
  fi
  echo "Kept: $SYSCONFDIR/linegate (configs), /var/lib/linegate (bundles, records not yet delivered), the user linegate."
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"do_$1"
