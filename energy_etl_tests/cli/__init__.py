"""Tests of energy_etl.cli, one module each."""
