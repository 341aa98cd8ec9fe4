"""Tests of `state.sqlite`: real files, real threads and processes."""
