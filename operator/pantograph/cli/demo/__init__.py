"""`pantograph demo`: a small shop that sells, and a copy of its database that follows. Needs nothing but Python."""
