"""Tests of the portfolio's files."""
