"""The life of the proxy: how it starts, follows its configuration, and ends."""
