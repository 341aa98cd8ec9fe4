"""Tests of `energy_etl/cli/doctor/`."""
