"""What lies beneath HTTP, on both sides of the proxy: the reactor, threads, transports, and which hosts are here."""
