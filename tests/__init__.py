"""Tests of Touchline."""
