"""The configuration file, from text to values."""
