"""Running the rows of a tape: once, or for many seeds at one point; imports recording and what it imports."""
