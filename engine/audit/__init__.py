"""The audit log: a hash chain and an RFC 6962 tree over exact lines, under checkpoints signed with Ed25519.

docs/audit-format.md has the bytes. The modules, from the bytes up: `record`, `chain`, `merkle`, `keys`, `checkpoint`,
`proofs`, `files`, `segment`, `tree`, `seal`, `key_ring`, `commit`, `recovery`, `writer`, `log`. Beside them: `witness`,
`witnessed`, `pruning`, `key_rotation`; for who only reads, `stored` and `export`. `verify` stands apart: it imports
none of them, so that one mistake cannot hide in both the writer and its judge. Nothing is re-exported here for the same
reason.
"""
