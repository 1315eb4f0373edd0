"""What outside this machine holds the log to its word: witnesses that cosign it, places that keep its checkpoints."""
