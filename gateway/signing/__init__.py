"""The log's signing key: where its passphrase comes from, which signer is used, and how the key is changed."""
