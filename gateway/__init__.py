"""The security gateway: gRPC in, sanitized, decided, sandboxed, audited."""
