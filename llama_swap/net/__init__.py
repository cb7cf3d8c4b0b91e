"""What lies beneath HTTP, on both sides of the proxy: the reactor, threads, transports, and how hosts are spelled."""
