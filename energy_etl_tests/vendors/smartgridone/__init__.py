"""Tests; the names mirror the package."""
