"""Tests of the vendor sandbox."""
