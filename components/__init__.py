"""One folder a stage: the KFP function, its metadata and its README. No logic lives here."""
