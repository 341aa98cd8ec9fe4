"""Tests of `energy_etl/vendors/`."""
