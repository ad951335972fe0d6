"""The words of replication, as values. Standard library only; nothing here does I/O."""
