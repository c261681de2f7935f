"""Pure functions: bytes and arrays in, values out; no I/O, no clock, no environment."""
