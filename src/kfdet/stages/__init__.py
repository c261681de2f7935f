"""One module a stage, each a thin `run`: parse, call core or model code, write atomically."""
