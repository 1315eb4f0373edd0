"""Generated from proto/gateway/v1 by tools/proto.sh; never edited."""
