"""What an emulator is started with. Values only; the scenario file and the command line make them."""

from collections import Counter
from dataclasses import dataclass, field

from bridge.emulator.browser_run import RunScript
from bridge.emulator.faults import FaultSettings
from bridge.emulator.works import WorkScript

DEMO_RUN = "run_demo"
DEMO_OPERATION, DEMO_INVOCATION = "op_demo", "inv_demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOption:
    """A run that is there from the start; without a script its events are those that are appended."""

    id: str = DEMO_RUN
    script: RunScript | None = field(default_factory=RunScript)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOption:
    """An operation or invocation that is there from the start; without a script it goes by hand."""

    id: str
    script: WorkScript | None = field(default_factory=WorkScript)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Faults that take the place of all others, `after` seconds from the start."""

    after: float
    faults: FaultSettings

    def __post_init__(self) -> None:
        """Refuses a time before the start: ValueError."""
        if not self.after >= 0:
            raise ValueError(f"after = {self.after}: must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything about an emulator except where it listens.

    runs: those there are from the start; by default one that makes four events a second for ever.
    operations, invocations: those there are from the start; by default one each, of five steps of a second.
    any_run: an unknown run id makes a run with `script` instead of a 404.
    api_key: the one key that is let in; without it, any that is not empty.
    heartbeat: seconds of silence after which a stream gets a heartbeat.
    keep: so many events of a live or appended run can be read again.
    remember: so many signals of a name wait for a waiter.
    log: so many requests are remembered, for assertions.
    seed: of the faults that happen by chance.
    """

    runs: tuple[RunOption, ...] = (RunOption(),)
    operations: tuple[WorkOption, ...] = (WorkOption(id=DEMO_OPERATION),)
    invocations: tuple[WorkOption, ...] = (WorkOption(id=DEMO_INVOCATION),)
    any_run: bool = False
    script: RunScript = field(default_factory=RunScript)
    api_key: str = field(default="", repr=False)
    heartbeat: float = 5.0
    keep: int = 1_000_000
    remember: int = 1_000
    log: int = 1_000
    seed: int = 0
    faults: FaultSettings = field(default_factory=FaultSettings)
    phases: tuple[Phase, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what cannot work: ValueError naming the option."""
        for name, value in (("heartbeat", self.heartbeat), ("keep", self.keep), ("remember", self.remember)):
            if value <= 0:
                raise ValueError(f"{name} = {value}: must be more than 0")
        for what, there in (("runs", self.runs), ("operations", self.operations), ("invocations", self.invocations)):
            often = Counter(each.id for each in there)
            if "" in often:
                raise ValueError(f"{what}: an id is empty")
            if twice := sorted(name for name, count in often.items() if count > 1):
                raise ValueError(f"{what}: {', '.join(twice)} is there twice")
