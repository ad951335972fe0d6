"""The web console: what is mirrored, how far it is, and a form for a Reflection. What it shows it asks of a `Store`.

`run --console` gives it the files and the process that follows them, `console` the objects of a cluster. The pages are
the same, work without JavaScript, and take nothing from elsewhere.
"""
