"""The routes that clients see."""
