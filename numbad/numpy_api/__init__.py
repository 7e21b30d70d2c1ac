"""NumPy as recording values meet it: its protocols, methods and functions; imports recording and what it imports."""
