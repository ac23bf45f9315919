"""Writes a simulated folder of match files."""
