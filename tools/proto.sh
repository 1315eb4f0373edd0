#!/usr/bin/env bash
# Generates gateway/v1 from proto/: messages, stubs and their types. CI fails when the committed files differ.
set -eu
cd "$(dirname "$0")/.."
bin=.venv/bin
"$bin/python" -m grpc_tools.protoc -I proto \
  --plugin=protoc-gen-mypy="$bin/protoc-gen-mypy" --plugin=protoc-gen-mypy_grpc="$bin/protoc-gen-mypy_grpc" \
  --python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:. \
  proto/gateway/v1/*.proto
