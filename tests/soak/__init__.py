"""Checks that take too long for the suite: a long mixed load, and the long single ones."""
