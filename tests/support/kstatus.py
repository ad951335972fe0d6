"""What tools that wait make of an object: the rules of kstatus, ported."""

from __future__ import annotations

from collections.abc import Mapping


def kstatus(generation: int, observed: int, conditions: Mapping[str, str]) -> str:
    """What cli-utils (kpt, Flux, Helm) makes of an object: the generic rules of its pkg/kstatus/status/generic.go.

    conditions: the status of each, by type.
    """
    if observed != generation:
        return "InProgress"
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return {"True": "Current", "False": "InProgress", "Unknown": "InProgress", None: "Current"}[conditions.get("Ready")]
