"""The stores of the console: of files and the process that follows them, and of a cluster."""
