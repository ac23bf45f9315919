"""Arithmetic of football and money; no input or output."""
