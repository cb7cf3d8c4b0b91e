"""Reads the configuration file: from YAML text to checked values."""
