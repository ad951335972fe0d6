"""What several suites share: databases as clients see them, mirrors that run, and a comparison of our own.

Nothing here shares code with what is tested: rows are fetched by the raw drivers and compared in plain Python.
"""
