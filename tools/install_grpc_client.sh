#!/usr/bin/env bash
# Builds the pinned grpcurl or ghz into .tools/bin with Go. Tests run the commands of examples/grpcurl.md with the first;
# `make soak` has calls made by the second.
set -eu
cd "$(dirname "$0")/.."
name=${1:?grpcurl or ghz}
case $name in
  grpcurl) module=github.com/fullstorydev/grpcurl/cmd/grpcurl ;;
  ghz) module=github.com/bojand/ghz/cmd/ghz ;;
  *) echo "no such client: $name" >&2; exit 2 ;;
esac
version=$(cat "tools/$name.version")
built=.tools/bin/$name.version
if [ -x ".tools/bin/$name" ] && [ "$(cat "$built" 2>/dev/null)" = "$version" ]; then exit 0; fi
GOBIN="$PWD/.tools/bin" CGO_ENABLED=0 go install "$module@$version"
echo "$version" > "$built"
