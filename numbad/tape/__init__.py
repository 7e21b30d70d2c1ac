"""What a tape is: the kinds of its rows, and names for what they read and write; imports limits, errors and ops."""
