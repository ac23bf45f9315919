"""Computes what a model knows of a match before kick-off."""
