"""The programs that import openai_harmony, run with it and with harmony in its place: `python -m peers --help`."""
