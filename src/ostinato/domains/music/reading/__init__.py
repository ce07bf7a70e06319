"""Music data sets: MIDI files, scores and folders of them as frames."""
