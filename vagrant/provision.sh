#!/bin/bash
# Make this Debian or Ubuntu machine one that labs run on. Vagrant, Lima and cloud-init call it, from a copy of the
# repository; so can you, as root, on any machine that you would give to labs. Debian packages and nslab come by
# scripts/install, in /opt/nslab; modules from scripts/modules.conf, now and at each boot; `nslab` and `pytest` are on
# the PATH, root's too. Called again it changes what differs, and says what; where all is there it wants no network.
set -euo pipefail
[ $EUID = 0 ] || exec sudo bash "$0"
from=$(readlink -f "${BASH_SOURCE[0]%/*}/..")
home=/opt/nslab
changed=()

# What belongs to the machine that the copy comes from, or to this one's environment.
except=(.git .venv .vagrant __pycache__ '.*_cache' .hypothesis)

copy() {
  [ "$from" != "$home" ] || return 0 # cloned to where it belongs
  mkdir -p "$home"
  ! diff -rq --no-dereference "${except[@]/#/--exclude=}" "$from" "$home" >/dev/null || return 0
  find "$home" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
  tar -C "$from" "${except[@]/#/--exclude=}" -cf - . | tar -C "$home" --no-same-owner -xf -
  # A folder shared by Windows has no modes of its own.
  find "$home" -maxdepth 2 -path "$home/scripts/*" ! -name '*.*' -exec chmod 755 {} +
  changed+=("$home")
}

installed() { sha256sum /var/lib/dpkg/status "$home"/.venv/complete-dev 2>/dev/null || true; }

install_all() {
  local before
  before=$(installed)
  # Bash completes a program's arguments by that package's files.
  [ -e /usr/share/bash-completion/bash_completion ] || {
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends bash-completion
  } >/dev/null
  "$home/scripts/install" dev # with pytest, for tests of labs
  [ "$before" = "$(installed)" ] || changed+=("packages and $home/.venv")
}

modules() {
  put /etc/modules-load.d/nslab.conf <"$home/scripts/modules.conf"
  [ -z "$("$home/scripts/modules" 2>&1 | tee /dev/stderr)" ] || changed+=("kernel modules")
}

put() { # FILE: as standard input says
  local text
  text=$(cat)
  [ "$text" != "$(cat "$1" 2>/dev/null)" ] || return 0
  mkdir -p "${1%/*}"
  echo "$text" >"$1"
  changed+=("$1")
}

link() { # PROGRAM
  [ "$(readlink "/usr/local/bin/${1##*/}")" != "$1" ] || return 0
  ln -sfn "$1" /usr/local/bin/
  changed+=("/usr/local/bin/${1##*/}")
}

greeting() {
  cat <<'END'

nslab: Kubernetes' network on this machine, out of the kernel's own parts. Three commands to begin with:

  sudo nslab up calico-two-node                                                    two nodes, their pods, one Service
  sudo nslab probe calico-two-node                                                 who reaches whom
  sudo nslab exec calico-two-node/pod-d -- curl -s http://svc-b:8080/hostname      a pod asks a Service

END
}

copy
install_all
modules
link "$home/scripts/nslab"
link "$home/.venv/bin/pytest"
put /usr/local/share/bash-completion/completions/nslab < <("$home/scripts/nslab" completion bash)
put /usr/local/share/man/man1/nslab.1 < <("$home/.venv/bin/python" -I -m nslab.cli.manual)
put /etc/motd.d/nslab < <(greeting)

if [ ${#changed[@]} = 0 ]; then
  echo "nslab: all is there; nothing changed"
else
  printf 'nslab: changed: %s\n' "${changed[@]}"
fi
