"""Tests of the table descriptions."""
