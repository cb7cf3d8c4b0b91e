"""llama-swap: one address in front of every model that this machine can run."""

__version__ = "0.1.0"
