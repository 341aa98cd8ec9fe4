"""Dagster, and nothing but Dagster: assets, checks, partitions, jobs, schedules, sensors.

Bodies are short: read frames, call a pure function, write frames. What computes lives in
`transform/`, what stores in `warehouse/`, what a vendor means in `vendors/`.
"""
