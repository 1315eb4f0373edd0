#!/usr/bin/env bash
# Installs the Debian packages that tests use and that are not there yet: strace injects faults into the calls of the
# audit log's write path, systemd-analyze looks at the unit in deploy/.
set -eu

missing=
command -v strace >/dev/null || missing="$missing strace"
command -v systemd-analyze >/dev/null || missing="$missing systemd"
[ -n "$missing" ] || exit 0
root=
[ "$(id -u)" = 0 ] || root=sudo
$root apt-get update -q
# shellcheck disable=SC2086 - one word is one package
$root apt-get install -q -y --no-install-recommends $missing
