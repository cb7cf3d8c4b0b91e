"""Tests, mirroring the rooms of `llama_swap`; `test_blackbox_*` drive the whole program from outside."""
