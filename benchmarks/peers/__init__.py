"""One file a peer: a program of the peers' own interpreter that runs no-op missions, as `rounds` asks it to."""
