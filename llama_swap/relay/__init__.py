"""HTTP/1.1 to the upstream, and its answer back to the client."""
