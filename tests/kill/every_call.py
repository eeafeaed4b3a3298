"""Cases G and H: every kind of source side by side in one bridge, under every fault of the emulator, killed meanwhile.

The upstreams are two emulators, processes of their own: in one account the runs are followed one by one, the other is
followed as a whole. What they have made is asked of them when all is over (`kill.kinds`).
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from waiting import wait_until

from kill.emulated import KEY, Emulated
from kill.findings import Findings
from kill.kinds import (
    ALL,
    ENDINGS,
    KINDS,
    MEMBERS,
    RUNS,
    SIGNAL,
    Kind,
    resource,
    settings,
    signal_settings,
    truth_of,
    work_settings,
    works,
)
from kill.rounds import FRAMES, HUGE, LISTS, Round
from kill.signal_case import judge_signals
from kill.stage import EVENTS, Stage
from kill.verdict import Told, judge, judge_work, split

RATE = 20.0
"""Events a second of each run; of each run of the account that is followed as a whole, half."""
STEP = 1.1
"""Seconds that each step of an operation or an invocation takes."""
PATIENCE = 25.0
"""Seconds for all sources to go on once a fault is over: their backoff, and what has gathered meanwhile."""
LONGEST = 40.0
"""Seconds for a source to notice that it is over: the longest backoff, and a wait."""
PARKED = "bridge:{0}:parked"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played: kinds by name, the rounds, how many of each work; `window` is the size of the known ids."""

    rounds: Sequence[Round]
    kinds: Sequence[str] = tuple(kind.name for kind in KINDS)
    works: int = 0
    signals: bool = False
    window: int = 20_000
    kills: int = 0
    shuffled: bool = True

    def chosen(self) -> list[Kind]:
        """The kinds."""
        return [kind for kind in KINDS if kind.name in self.kinds]


async def every_call(stage: Stage, plan: Plan) -> Findings:
    """All rounds of a plan, the ends of all sources, and the verdict on each."""
    play = Play(stage, plan)
    async with (
        Emulated(stage.directory / RUNS, _runs_options(plan)) as one,
        Emulated(stage.directory / ALL, _whole_options()) as whole,
    ):
        await play.run(one, whole)
        await play.judge(one, whole)
    return play.found


def _runs_options(plan: Plan) -> Mapping[str, object]:
    story = {"rate": RATE, "times": "fixed"}
    runs = [
        {"id": kind.name, **story, **({"times": "now"} if kind.now else {})}
        for kind in plan.chosen() if kind.truth != "account"
    ]  # fmt: skip
    by_noun = {
        f"{noun}s": [{"id": id_, "steps": 1000, "seconds": STEP} for each, id_ in works(plan.works) if each == noun]
        for noun in ("operation", "invocation")
    }
    return {"runs": runs, **by_noun, "remember": 100_000, "heartbeat": 0.5}


def _whole_options() -> Mapping[str, object]:
    runs = [{"id": name, "rate": RATE / 2, "times": "fixed"} for name in MEMBERS]
    return {"runs": runs, "operations": [], "invocations": [], "heartbeat": 0.5}


class Play:
    """One play of a plan."""

    def __init__(self, stage: Stage, plan: Plan) -> None:
        self.found = Findings()
        self._stage, self._plan = stage, plan
        self._kinds, self._works = plan.chosen(), works(plan.works)
        self._sent: list[str] = []
        self._sending = asyncio.Lock()
        self._forgotten = 0

    async def run(self, one: Emulated, whole: Emulated) -> None:
        """From the start of the bridge until all has ended."""
        self._one, self._whole = one, whole
        self._bridge = self._stage.daemon(self._configuration())
        self._bridge.start()
        try:
            async with asyncio.TaskGroup() as group:
                sender = group.create_task(self._send())
                await self._rounds()
                sender.cancel()
        except BaseExceptionGroup as several:
            raise _first(several) from None
        await self._settle()
        await self._end()

    async def _rounds(self) -> None:
        await self._grown("the bridge is up")
        for each, killed in self._schedule():
            await self._round(each, killed=killed)
            await self._grown(f"all go on after {each.name}")

    def _schedule(self) -> Iterable[tuple[Round, bool]]:
        rounds, random = list(self._plan.rounds), self._stage.random
        if self._plan.shuffled:
            random.shuffle(rounds)
        # A work that was forgotten brings nothing new for as long as it had been there: its backoff must not grow on.
        rounds.sort(key=lambda each: each.restart is not False)
        killed = set(random.sample(range(len(rounds)), min(self._plan.kills, len(rounds))))
        return [(each, at in killed) for at, each in enumerate(rounds)]

    async def _round(self, each: Round, *, killed: bool) -> None:
        await self._both("faults", each.faults)
        await self._begin(each)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(each.seconds))
            if each.frames:
                group.create_task(self._spoil(self._one, max))
                group.create_task(self._spoil(self._whole, sum))
            if killed:
                await self._stage.moment(each.seconds)
                await self._killed_and_back()
        if each.kill_behind:
            await self._killed_and_back()
        if each.cut_after:
            await self._both("cut")
        if each.kill_in_list:
            await self._kill_in_list()
        await self._one.clear()
        await self._whole.clear()

    async def _begin(self, each: Round) -> None:
        """The connections break, one way or the other."""
        if each.restart is None:
            await self._both("cut")
            return
        async with self._sending:  # the sender's connection would break too
            if not each.restart:  # what nobody has taken would be forgotten without a trace
                await wait_until(self._all_taken, "all signals are taken", PATIENCE)
                await wait_until(self._have_cursors, "all sources have a cursor to take the runs up from", PATIENCE)
                self._forgotten += 1
            await self._both("restart", {"memory": each.restart})

    def _have_cursors(self) -> bool:
        """True unless one is in its history: without a cursor it would follow a forgotten run at that run's speed."""
        return all(self._stage.source(kind.name).get("cursor") for kind in self._kinds)

    async def _kill_in_list(self) -> None:
        """Once as soon as a list is asked for, and once again a moment later."""
        slow = {"first_byte_delay": 0.3, "calls": LISTS, "expired_cursors": False}
        before = await self._lists()
        await self._both("faults", slow)

        async def asked() -> bool:
            return await self._lists() > before

        await wait_until(asked, "the history is read", PATIENCE)
        await self._stage.moment(0.2)
        await self._killed_and_back()
        await self._stage.moment(0.8)
        await self._killed_and_back()

    async def _lists(self) -> int:
        counts = await self._one.counts() + await self._whole.counts()
        return sum(counts[name] for name in LISTS)

    async def _spoil(self, emulator: Emulated, head: Callable[[list[int]], int]) -> None:
        """Spoil the next frames, each in its own way; return a moment after the last has gone out.

        Indexes count the events of a run, and in an account those of all its runs.
        """
        coming = range(first := head(await emulator.heads()) + 4, first + len(FRAMES))
        await emulator.control("faults", {**HUGE, **{name: [at] for name, at in zip(FRAMES, coming, strict=True)}})

        async def over() -> bool:
            heads = await emulator.heads()
            return bool((min(heads) if head is max else sum(heads)) > coming[-1] + RATE / 4)

        await wait_until(over, "all runs are past the spoiled frames", 2 * PATIENCE)

    def _whole_is_followed(self) -> bool:
        return any(kind.truth == "account" for kind in self._kinds)

    async def _both(self, path: str, body: object = None) -> None:
        await asyncio.gather(self._one.control(path, body), self._whole.control(path, body))

    async def _killed_and_back(self) -> None:
        """The new process meets the faults that are on."""
        lives = len(self._bridge.lines("bridge.started"))
        self._kill()
        await wait_until(lambda: len(self._bridge.lines("bridge.started")) > lives, "the bridge is back", PATIENCE)
        await asyncio.sleep(0.2)

    def _kill(self) -> None:
        self._bridge.kill()
        self._bridge.start()
        self.found.kills += 1

    async def _grown(self, what: str) -> None:
        """Wait until every source has stored more than now."""
        names = [kind.name for kind in self._kinds] + (["code"] if self._plan.signals else [])
        before = {name: self._sequence(name) for name in names}

        def late() -> list[str]:
            return [name for name in names if self._sequence(name) <= before[name] + 1]

        try:
            await wait_until(lambda: not late(), what, PATIENCE)
        except AssertionError as stuck:
            raise AssertionError(f"{stuck}; not so: {late()}; {self._said_last()}") from stuck

    def _said_last(self) -> str:
        lines = [line for name in ("source.interrupted", "source.failed") for line in self._bridge.lines(name)]
        return json.dumps(lines[-3:])

    def _sequence(self, name: str) -> int:
        return int(self._stage.source(name).get("sequence", 0))

    # -- signals

    async def _send(self) -> None:
        while self._plan.signals:
            await self._stage.moment(0.1)
            async with self._sending:
                await self._signal()

    async def _signal(self) -> None:
        self._sent.append(str(len(self._sent)))
        name = SIGNAL.replace(" ", "%20").replace("/", "%2F")
        await self._one.control(f"signals/{name}", {"number": self._sent[-1], "padding": "x" * 60})

    async def _all_taken(self) -> bool:
        return not bool((await self._one.state())["namedEvents"]["remembered"])

    async def _settle(self) -> None:
        """Send until one arrives: then all before it have arrived, or never will."""
        for _ in range(10 if self._plan.signals else 0):
            await self._signal()
            with contextlib.suppress(AssertionError):  # a dead waiter has got it
                await wait_until(self._last_stored, "the last signal", 1.5)
                return

    def _last_stored(self) -> bool:
        """What the other sources store meanwhile comes between."""
        said = f'"number":"{self._sent[-1]}"'
        latest = self._stage.redis.call("XREVRANGE", EVENTS, "+", "-", "COUNT", 1000)
        return any(entry["subject"] == SIGNAL and said in entry["event"] for _, entry in latest)

    # -- the end

    async def _end(self) -> None:
        """End the runs, some with late events or without saying so, and the works, and wait until all is in the log."""
        for kind, faults in zip(self._kinds, self._end_faults(), strict=True):
            await self._both("faults", faults)
            await self._both("cut")  # so that something is left to be brought when the run is over
            emulator = self._whole if kind.truth == "account" else self._one
            for name in MEMBERS if kind.truth == "account" else (kind.name,):
                await emulator.control(f"runs/{name}/events", [{"type": "last"}] * 5)
                await emulator.control(f"runs/{name}/end", {})
            if kind.truth != "account":
                await self._ended([kind.name])
            await self._one.clear()
            await self._whole.clear()
        for number, (noun, id_) in enumerate(self._works):
            await self._one.control(f"{noun}s/{id_}", {"status": ENDINGS[number % len(ENDINGS)]})
        await self._ended([id_ for _, id_ in self._works])
        if self._whole_is_followed():
            (last,) = (await self._whole.control("events", {"type": "last"}))["ids"]
            await wait_until(lambda: self._stage.source("whole")["cursor"] == last, "all of the account", PATIENCE)
        await self._asks_no_more()
        await self._stage.stop(self.found)

    def _end_faults(self) -> list[Mapping[str, object]]:
        """How each run ends. An `sse` source ends with the terminal event, so that has to come, and be the last."""
        ways: tuple[Mapping[str, object], ...] = (
            {"frames_after_end": 3},
            {"frames_after_end": 2, "end_without_run_ended": True},
            {},
        )
        return [{} if kind.call == "sse" else self._stage.random.choice(ways) for kind in self._kinds]

    async def _ended(self, names: Sequence[str]) -> None:
        def left() -> set[str]:
            return set(names) - {line["source"] for line in self._bridge.lines("source.ended")}

        try:
            await wait_until(lambda: not left(), "all ended", LONGEST)
        except AssertionError as stuck:
            raise AssertionError(f"{stuck}: not {', '.join(sorted(left())[:5])}; {self._said_last()}") from stuck

    async def _asks_no_more(self) -> None:
        """Killed once more: what has ended stays so, and nobody asks for it."""
        ended = [kind.name for kind in self._kinds if kind.truth != "account"] + [id_ for _, id_ in self._works]
        wrong = [name for name in ended if self._stage.source(name).get("state") != "ended"]
        self.found.check(not wrong, f"{len(wrong)} ended sources are not stored as ended, such as {wrong[:1]}")
        before = await self._one.counts()
        said = len(self._bridge.lines("source.ended"))
        self._kill()
        await wait_until(
            lambda: len(self._bridge.lines("source.ended")) >= said + len(ended),
            "all are known to have ended",
            PATIENCE,
        )
        asked = await self._one.counts() - before
        asked.pop("event-wait", None)
        self.found.check(not asked, f"what has ended was asked for again: {dict(asked)}")

    # -- the verdict

    async def judge(self, one: Emulated, whole: Emulated) -> None:
        """Every source's events against what the emulators have made."""
        urls = {RUNS: one.url, ALL: whole.url}
        homes = {resource(kind, urls): kind.name for kind in self._kinds}
        homes |= {f"{one.url}/{noun}s/{id_}": id_ for noun, id_ in self._works}
        homes |= {f"{one.url}/events": "code"} if self._plan.signals else {}
        parked = [fields for _, fields in self._stage.redis.call("XRANGE", PARKED, "-", "+")]
        told = split(list(self._stage.entries()), parked, homes)
        for name, each in told.items():
            self.found.check(each.numbered(self._stage.source(name)), f"{name}: the sequence has a hole or goes back")
        for kind in self._kinds:
            truth = await truth_of(kind, whole if kind.truth == "account" else one)
            self.found.notes.append(judge(kind, truth, told[kind.name], self.found))
        self._judge_works(told)
        if self._plan.signals:
            entries = [entry for entry in self._stage.entries() if f'"source":"{one.url}/events/' in entry["event"]]
            judge_signals(entries, self._sent, self.found, told["code"].parked)

    def _judge_works(self, told: Mapping[str, Told]) -> None:
        states = sum(
            judge_work(id_, ENDINGS[number % len(ENDINGS)], told[id_], self._forgotten, self.found)
            for number, (_, id_) in enumerate(self._works)
        )
        if self._works:
            self.found.notes.append(f"{len(self._works)} operations and invocations, {states} states")

    def _configuration(self) -> str:
        urls = {RUNS: self._one.url, ALL: self._whole.url}
        accounts = "".join(
            f'[accounts.{name}]\nprovider = "{provider}"\nbase_url = "{url}"\napi_key = "{KEY}"\n'
            for name, provider, url in (
                (RUNS, "bctrl", urls[RUNS]), (ALL, "bctrl", urls[ALL]), ("anchor", "anchor", urls[RUNS]),
            )
        )  # fmt: skip
        sources = [
            *(settings(kind, urls) for kind in self._kinds),
            *(work_settings(noun, id_) for noun, id_ in self._works),
            *([signal_settings()] if self._plan.signals else []),
        ]
        return (
            f'grace = "5s"\nspool = "{self._stage.directory}/spool"\n[redis]\nurl = "{self._stage.redis.url}"\n'
            f'[http]\nlisten = ""\n[logging]\nformat = "json"\n[log]\ndedup_window = {self._plan.window}\n'
            f"{accounts}{''.join(sources)}"
        )


def _first(error: BaseException) -> BaseException:
    """What a group is about."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
