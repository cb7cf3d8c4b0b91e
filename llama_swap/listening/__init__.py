"""Where clients come in: addresses, certificates, and how many are let in."""
