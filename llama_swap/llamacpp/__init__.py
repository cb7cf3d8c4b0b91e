"""llama.cpp's own HTTP server from a Python wheel, for machines without llama-server; and the demo."""
