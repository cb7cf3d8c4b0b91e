"""Lets `twistd llama-swap` find the proxy."""

from __future__ import annotations

from twisted.application.service import ServiceMaker

serviceMaker = ServiceMaker(
    "llama-swap",
    "llama_swap.tap",
    "A proxy that starts, swaps and stops local model servers on demand.",
    "llama-swap",
)
