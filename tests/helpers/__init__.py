"""What several tests need: inputs of every kind, ways to read them, and what they hold."""
