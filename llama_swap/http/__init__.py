"""What HTTP/1.1 messages are made of, on both sides of the proxy: header fields, chunks, hosts and origins; pure."""
