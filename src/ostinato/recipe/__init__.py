"""What a run's settings are: declarations, the paper's letters, and the recipe that they make."""
