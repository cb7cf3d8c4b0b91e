"""Which request may run now, and what must start or stop for it; pure."""
