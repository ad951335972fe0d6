"""The process that runs the streams of one source Database: start, drain, stop. Moves rows; never alters the source."""
