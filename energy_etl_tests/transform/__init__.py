"""Tests of energy_etl.transform."""
