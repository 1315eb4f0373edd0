#!/usr/bin/env bash
# Builds the pinned OPA into .tools/bin with Go; the differential tests compare our decisions with it.
set -eu
cd "$(dirname "$0")/.."
version=$(cat tools/opa.version)
if [ -x .tools/bin/opa ] && .tools/bin/opa version | grep -q "Version: ${version#v}"; then exit 0; fi
GOBIN="$PWD/.tools/bin" CGO_ENABLED=0 go install "github.com/open-policy-agent/opa@$version"
