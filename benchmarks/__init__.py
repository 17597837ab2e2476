"""What is timed or measured, and beside what."""
