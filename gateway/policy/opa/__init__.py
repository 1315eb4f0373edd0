"""A real OPA as policy engine: it loads the gateway's bundle beside the gateway, and is asked over HTTP or a socket."""
