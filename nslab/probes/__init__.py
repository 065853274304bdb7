"""The probes of `nslab probe`: who must reach whom and with which source address, and their results (pure)."""

from nslab.probes.calls import Answer, Call, CallResult, Try, Way
from nslab.probes.learned_routes import with_learned_routes
from nslab.probes.pairs import LOOPBACK, Survey, agnhost_port, places, seen_as, survey
from nslab.probes.probe import Expected, Kind, Outcome, Probe, ProbeHost, Result
from nslab.probes.services import ServiceSurvey, survey_services
from nslab.probes.spread import Spread, likelihood
from nslab.probes.verdict import Square, squares, verdict

__all__ = [
    "LOOPBACK",
    "Answer",
    "Call",
    "CallResult",
    "Expected",
    "Kind",
    "Outcome",
    "Probe",
    "ProbeHost",
    "Result",
    "ServiceSurvey",
    "Spread",
    "Square",
    "Survey",
    "Try",
    "Way",
    "agnhost_port",
    "likelihood",
    "places",
    "seen_as",
    "squares",
    "survey",
    "survey_services",
    "verdict",
    "with_learned_routes",
]  # fmt: skip
