"""Tests of the Dagster layer: real instance, real sandbox over HTTP, real files."""
