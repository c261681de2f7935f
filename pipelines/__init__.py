"""Pipelines composed of the components; each folder holds its source and its compiled form."""
