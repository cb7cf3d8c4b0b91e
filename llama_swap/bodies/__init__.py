"""The bodies of requests: which model one names, where it is kept, and how it is changed."""
