"""HTTP/1.1 towards the clients: how bytes become a request, and how an answer of the proxy's own becomes bytes."""
