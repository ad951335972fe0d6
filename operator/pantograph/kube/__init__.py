"""The cluster: objects read, watched and written; the Secrets that a Database names; the reflector's own objects."""
