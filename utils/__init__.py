"""Small helpers shared by every command: errors, files written aside, colour curves."""
