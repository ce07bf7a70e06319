"""Music: songs as frames of notes."""
