"""Whether data and configuration can reach the gate: ceilings, anchors, resize and power, with no training.

Pure functions of the ground truth and the settings. A `ceiling` is a bound that no detector exceeds;
what is merely likely is a risk, and called so.
"""
