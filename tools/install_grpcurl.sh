#!/usr/bin/env bash
# Builds the pinned grpcurl into .tools/bin with Go; where it is, tests run the commands of examples/grpcurl.md with it.
set -eu
cd "$(dirname "$0")/.."
version=$(cat tools/grpcurl.version)
if [ -x .tools/bin/grpcurl ] && [ "$(cat .tools/bin/grpcurl.version 2>/dev/null)" = "$version" ]; then exit 0; fi
GOBIN="$PWD/.tools/bin" CGO_ENABLED=0 go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$version"
echo "$version" > .tools/bin/grpcurl.version
