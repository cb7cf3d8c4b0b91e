"""llama.cpp's own HTTP server out of a Python wheel, for those who have no llama-server yet; and the demo."""
