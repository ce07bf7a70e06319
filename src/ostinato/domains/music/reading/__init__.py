"""Music data sets: MIDI, MusicXML, ABC and kern files and folders of them as frames."""
