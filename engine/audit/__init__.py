"""The audit log: a hash chain and an RFC 6962 tree over exact lines, under checkpoints signed with Ed25519.

docs/audit-format.md has the bytes. The modules, from the bytes up: `record`, `chain`, `merkle`, `keys`, `checkpoint`,
`files`, `segment`, `commit`, `rotation`, `recovery`, `writer`, `log`, `rotating`. `verify` stands
apart: it imports none of them, so that one mistake cannot hide in both the writer and its judge. Nothing is re-exported
here for the same reason.
"""
