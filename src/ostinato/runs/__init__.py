"""Run folders: checkpoints, settings, results, and the models in them."""
