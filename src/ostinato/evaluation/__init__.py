"""What every kind of data is judged by: scores with their conventions, the bootstrap, numbers as printed."""
