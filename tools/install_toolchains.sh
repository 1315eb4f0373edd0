#!/usr/bin/env bash
# Installs what hooks in Rust and AssemblyScript are compiled with: Debian's rustc with its library for WebAssembly,
# where there is no rustc that has it, and the pinned AssemblyScript compiler into .tools/assemblyscript. Zig and C
# are compiled by the package ziglang, which the lock file has.
set -eu
cd "$(dirname "$0")/.."

has_wasm() {
  for folder in $(printf '%s' "$PATH" | tr ':' ' '); do
    if [ -x "$folder/rustc" ]; then
      library=$("$folder/rustc" --print target-libdir --target wasm32-unknown-unknown 2>/dev/null) || continue
      if ls "$library"/libcore-*.rlib >/dev/null 2>&1; then return 0; fi
    fi
  done
  return 1
}

if ! has_wasm; then
  root=
  [ "$(id -u)" = 0 ] || root=sudo
  $root apt-get update -q
  $root apt-get install -q -y --no-install-recommends rustc libstd-rust-dev-wasm32 lld
fi

sources=wasm-hooks/sdk/assemblyscript
place=.tools/assemblyscript
if ! cmp -s "$sources/package-lock.json" "$place/package-lock.json" || [ ! -d "$place/node_modules" ]; then
  mkdir -p "$place"
  cp "$sources/package.json" "$sources/package-lock.json" "$place/"
  (cd "$place" && npm ci --no-audit --no-fund --ignore-scripts)
fi
