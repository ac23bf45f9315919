"""Embedded servers and processes for one machine."""
