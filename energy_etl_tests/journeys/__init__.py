"""Journeys: real processes through the doors that users take."""
