"""Tapes that are compiled themselves: loops found in their rows, and machine code made of what is left."""
