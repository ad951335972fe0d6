"""The only place where plans meet the world: `observe` looks, `execute` does, `prepare` goes round."""
