"""Reads match files into the table of matches."""
