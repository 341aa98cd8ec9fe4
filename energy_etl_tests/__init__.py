"""Tests of energy_etl; the folders mirror the package."""
