"""Tests of `energy_etl/delivery/`."""
