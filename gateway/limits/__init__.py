"""How much of the gateway each principal, tenant and stranger may have, and what gives way when all of it is in use.

Pure state with the clock given; nothing here knows gRPC. docs/limits.md says what each limit is for, ADR 35 which limit
lives where.
"""
