"""Wiser."""
