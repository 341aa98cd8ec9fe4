"""Tests of what is computed into layer mart: queries and findings, on a real warehouse file."""
