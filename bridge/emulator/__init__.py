"""A local upstream: the calls that the bridge reads, with faults at will.

Written from the providers' documents alone. It imports nothing else of the bridge: a stand-in that shared the
client's code would agree with its bugs.
"""

from bridge.emulator.browser_run import RunScript
from bridge.emulator.faults import FaultSettings
from bridge.emulator.options import Options, Phase, RunOption, WorkOption
from bridge.emulator.server import Emulator, serve
from bridge.emulator.state import RequestRecord
from bridge.emulator.works import WorkScript

__all__ = [
    "Emulator",
    "FaultSettings",
    "Options",
    "Phase",
    "RequestRecord",
    "RunOption",
    "RunScript",
    "WorkOption",
    "WorkScript",
    "serve",
]
