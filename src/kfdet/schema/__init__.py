"""Every file that passes between stages, as frozen models that reject unknown fields."""
