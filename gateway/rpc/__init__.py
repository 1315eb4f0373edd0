"""gRPC: the only place that knows protobuf; everything behind it are plain values."""
