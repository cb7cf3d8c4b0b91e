"""The lifecycle of the proxy: start, reload, drain and stop."""
