"""Side by side with what a user would pick instead, on the same servers in the same run. Run by hand; see README.md."""
