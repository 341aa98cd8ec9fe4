"""Tests of the warehouse: real files, real processes."""
