"""Who calls: bearer tokens, client certificates, sockets, and the one place where a credential becomes a principal."""
