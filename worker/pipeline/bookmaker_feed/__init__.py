"""Imports the odds of a bookmaker's feed."""
