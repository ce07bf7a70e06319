"""Frames as MIDI, sound and pictures."""
