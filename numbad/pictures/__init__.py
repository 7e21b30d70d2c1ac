"""Tapes for the eye: as text, as tables and as graphs; imports tapes."""
