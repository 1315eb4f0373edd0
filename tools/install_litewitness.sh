#!/usr/bin/env bash
# Builds the pinned litewitness of torchwood into .tools/bin with Go; the tests have logs cosigned by it. v0.9.0 is the
# newest that Go 1.26 builds. witnessctl, its other command, is not needed: the tests write the two rows themselves.
set -eu
cd "$(dirname "$0")/.."
version=$(cat tools/litewitness.version)
built=.tools/bin/litewitness.version
if [ -x .tools/bin/litewitness ] && [ "$(cat "$built" 2>/dev/null)" = "$version" ]; then exit 0; fi
GOBIN="$PWD/.tools/bin" CGO_ENABLED=0 go install "filippo.io/torchwood/cmd/litewitness@$version"
echo "$version" > "$built"
