"""The interchangeable implementations of the recurrence."""
