"""llama-swap: a proxy with one address for all local models, which it starts and stops on demand."""

__version__ = "0.1.0"
