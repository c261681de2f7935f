"""Locations: reading, and writing so that a reader never sees half of anything."""
