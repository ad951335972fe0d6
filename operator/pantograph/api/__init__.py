"""The three kinds as typed models: the user's words. Nothing here does I/O except reading the files it is told to."""
