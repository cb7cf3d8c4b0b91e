"""Carries out what the scheduler decides, and hands out leases."""
