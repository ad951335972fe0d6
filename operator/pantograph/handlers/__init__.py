"""The operator: what it is told by the cluster (`startup`), what it knows (`known`), and what it does about it.

`queue` decides when, `reconciling` does one source Database with all that hangs on it - parse, observe, plan, execute,
report - `removing` takes away, `outcomes` turns what came of it into conditions.
"""
