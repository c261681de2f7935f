"""Kubeflow Pipelines as kfdet uses it: the connection, what is sent, and what a run says of itself."""
