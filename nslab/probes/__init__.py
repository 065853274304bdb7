"""Who must reach whom, how, and as whom: what `nslab probe` asks, and what the answers are (pure)."""

from nslab.probes.pairs import (
    LOOPBACK,
    Expected,
    Kind,
    Outcome,
    Place,
    Probe,
    Result,
    Survey,
    agnhost_port,
    places,
    seen_as,
    survey,
)

__all__ = [
    "LOOPBACK", "Expected", "Kind", "Outcome", "Place", "Probe", "Result", "Survey", "agnhost_port", "places",
    "seen_as", "survey",
]  # fmt: skip
