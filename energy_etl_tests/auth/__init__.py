"""Tests of energy_etl.auth, one module each."""
