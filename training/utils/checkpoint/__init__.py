"""Output folders: models that the next stage, prediction and transformers can load; state to resume from."""
