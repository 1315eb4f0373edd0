"""Secrets: sealed on the disk, known to guests by handles only, put in place by the host at the effect."""
