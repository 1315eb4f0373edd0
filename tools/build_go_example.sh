#!/usr/bin/env bash
# Compiles what examples/go builds on, its generators and gRPC for Go, into Go's cache: its test is quick then.
set -eu
cd "$(dirname "$0")/../examples/go"
CGO_ENABLED=0 go build google.golang.org/grpc google.golang.org/protobuf/cmd/protoc-gen-go \
  google.golang.org/grpc/cmd/protoc-gen-go-grpc
