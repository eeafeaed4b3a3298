"""Whether traces are to be sent, by the standard variables of OpenTelemetry. Refuses to keep the bridge from running.

Imports nothing of OpenTelemetry where they are not asked for (`bridge.telemetry.otlp` does).
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bridge.facts import TracesUnsent
from bridge.ports import Observe

if TYPE_CHECKING:
    from bridge.telemetry.otlp import Traces

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def traces(environment: Mapping[str, str], instance: str, observe: Observe) -> "Traces | None":
    """What makes spans and sends them; None where nobody asks for it, or where it can't be had, which is said.

    Called in the event loop that it is for. `instance` names this bridge among others.
    """
    said = {name: value.strip() for name, value in environment.items() if name.startswith("OTEL_")}
    if not _asked(said):
        return None
    problem = _unfit(said)
    if not problem:
        try:
            from bridge.telemetry.otlp import Traces  # noqa: PLC0415  # an extra, and slow to import

            return Traces(instance, observe)
        except ImportError:
            problem = "the extra otel is not installed (runbridge[otel])"
        except ValueError as error:
            problem = f"a variable of OpenTelemetry can't be used: {error}"
    observe(TracesUnsent(problem))
    return None


def _asked(said: Mapping[str, str]) -> bool:
    if said.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = said.get("OTEL_TRACES_EXPORTER", "").lower()
    return exporter != "none" if exporter else any(said.get(name) for name in _ENDPOINTS)


def _unfit(said: Mapping[str, str]) -> str:
    """What of it the bridge doesn't know how to do, or nothing."""
    if said.get("OTEL_TRACES_EXPORTER", "otlp").lower() not in {"", "otlp"}:
        return "OTEL_TRACES_EXPORTER names another exporter than otlp or none"
    name = next((name for name in _PROTOCOLS if said.get(name)), "")
    if name and said[name].lower() != "http/protobuf":
        return f"{name} names another protocol than http/protobuf"
    return ""
