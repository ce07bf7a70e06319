"""Text: words, or characters."""
