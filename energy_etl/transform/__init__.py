"""What changes a value: Polars in, Polars out, no I/O and no clock (`now` is an argument)."""
