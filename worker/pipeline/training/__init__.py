"""Trains, scores and registers models."""
