"""Cron expressions as Kubeflow Pipelines reads them: what they mean, in words, and when they fire.

Source: package github.com/robfig/cron v1, which the scheduler of Kubeflow Pipelines uses. It takes
six fields beginning with seconds, and reads five as the first five of those: the classic five
fields must be given a second before they are sent.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kfdet.errors import UsageError, did_you_mean

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_DESCRIPTORS = {
    "@yearly": "0 0 0 1 1 *", "@annually": "0 0 0 1 1 *", "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0", "@daily": "0 0 0 * * *", "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}  # fmt: skip
# What other schedulers call a last day, a working day and the second Monday of a month.
_OTHERS_DAYS = re.compile(
    r"L|LW|WL|\d{1,2}[LW]|(?:SUN|MON|TUE|WED|THU|FRI|SAT)L|[A-Z0-9]{1,3}#[A-Z0-9]*", re.I
)
_TIME_ZONE = re.compile(r"(?:CRON_)?TZ\s*=", re.I)
_YEARS_SEARCHED = 5
_TIMES_SPELLED_OUT = 6


@dataclass(frozen=True, kw_only=True)
class _Unit:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def all(self) -> frozenset[int]:
        return frozenset(range(self.low, self.high + 1))


_UNITS = (
    _Unit(name="second", low=0, high=59),
    _Unit(name="minute", low=0, high=59),
    _Unit(name="hour", low=0, high=23),
    _Unit(name="day of the month", low=1, high=31),
    _Unit(name="month", low=1, high=12, names=tuple(name[:3].lower() for name in _MONTHS)),
    _Unit(name="day of the week", low=0, high=6, names=tuple(n[:3].lower() for n in _WEEKDAYS)),
)
_WEEKDAY_UNIT = _UNITS[5]


@dataclass(frozen=True, kw_only=True)
class CronSchedule:
    """Attributes:
    expression: Six fields, numbers only, Sunday as 0: what the scheduler is sent.
    seconds, minutes, hours, days, months, weekdays: Values at which it fires; Sunday is 0.
    either_day: Fires on a day of `days` or of `weekdays`, as when both are restricted; else a
        day must be in both.
    """

    expression: str
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def fires_on(self, day: datetime.date) -> bool:
        """Returns whether it fires on a day at all."""
        if day.month not in self.months:
            return False
        in_days, in_weekdays = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return in_days or in_weekdays if self.either_day else in_days and in_weekdays

    def times_after(self, moment: datetime.datetime) -> Iterator[datetime.datetime]:
        """Yields the moments at which it fires, later than a moment, for five years.

        Args:
            moment: In the time zone of the scheduler; its daylight saving is not looked at.
        """
        for ahead in range(_YEARS_SEARCHED * 366):
            day = moment.date() + datetime.timedelta(days=ahead)
            if not self.fires_on(day):
                continue
            for hour in sorted(self.hours):
                if ahead == 0 and hour < moment.hour:
                    continue
                for minute in sorted(self.minutes):
                    for second in sorted(self.seconds):
                        time = datetime.time(hour, minute, second)
                        fires = datetime.datetime.combine(day, time, tzinfo=moment.tzinfo)
                        if fires > moment:
                            yield fires

    def in_words(self) -> str:
        """Returns the schedule as a phrase: `at 03:00 on Monday`. Other schedules, other words."""
        clock, days = _clock_words(self), _day_words(self)
        if days == "every day" and ":" not in clock:
            days = ""
        months = ""
        if self.months != _UNITS[4].all:
            months = f"only in {_listed(_named(_runs(self.months), _MONTHS, first=1))}"
        return " ".join(word for word in (clock, days, months) if word)


def parse_cron(text: str) -> CronSchedule:
    """Returns the schedule of a cron expression.

    Args:
        text: Five fields (minute, hour, day of the month, month, day of the week), six with
            seconds before them, or a word such as `@daily`. Sunday is 0 or 7.

    Raises:
        UsageError: It is no such expression, or never fires.
    """
    where = f'cron "{text}"'
    if _TIME_ZONE.match(text.strip()):
        raise UsageError(
            "a time zone can't be named",
            where=where,
            expected="fields by the clock of the scheduler: UTC, unless its variable "
            "CRON_SCHEDULE_TIMEZONE says otherwise",
            remedy="Leave the zone out, and give the hours in the scheduler's.",
        )
    expression = _DESCRIPTORS.get(text.strip().lower(), text.strip())
    if expression.startswith("@"):
        raise UsageError(
            f"there is no word {expression}",
            where=where,
            expected=f"fields, or one of {', '.join(_DESCRIPTORS)}",
            remedy=did_you_mean(expression, _DESCRIPTORS) or None,
        )
    fields = expression.split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise UsageError(
            f"has {len(fields)} fields",
            where=where,
            expected="5 (minute hour day month weekday) or 6 (second first)",
            remedy='Every Monday at three: "0 3 * * 1".',
        )
    parsed = [_field(field, unit, where) for field, unit in zip(fields, _UNITS, strict=True)]
    values = [value for value, _, _ in parsed]
    schedule = CronSchedule(
        expression=" ".join(text for _, text, _ in parsed),
        seconds=values[0],
        minutes=values[1],
        hours=values[2],
        days=values[3],
        months=values[4],
        weekdays=values[5],
        either_day=not (parsed[3][2] or parsed[5][2]),
    )
    if next(schedule.times_after(datetime.datetime(2000, 1, 1)), None) is None:
        raise UsageError("never fires: no such day is in these months", where=where)
    return schedule


def _field(text: str, unit: _Unit, where: str) -> tuple[frozenset[int], str, bool]:
    """Returns a field's values, its canonical text, and whether it begins with a star."""
    values: set[int] = set()
    canonical: list[str] = []
    starred = False
    for item in text.split(","):
        base, slash, step_text = item.partition("/")
        step = _number(step_text, unit, where) if slash else 1
        if step < 1:
            raise UsageError(f'the step of "{item}" is 0', where=where, expected="1 or more")
        if base in ("*", "?"):
            starred = True
            found: Sequence[int] = range(unit.low, unit.high + 1, step)
            canonical.append(f"*/{step}" if step > 1 else "*")
        else:
            found = _range(base, step if slash else None, unit, where)
            canonical += _shortest(found)
        values.update(found)
    return frozenset(values), ",".join(canonical), starred


def _range(base: str, step: int | None, unit: _Unit, where: str) -> list[int]:
    first_text, dash, last_text = base.partition("-")
    first = _number(first_text, unit, where)
    # A lone value with a step goes on to the end: 5/15 is 5-59/15.
    last = _number(last_text, unit, where) if dash else (first if step is None else unit.high)
    top = 7 if unit is _WEEKDAY_UNIT else unit.high
    for value in (first, last):
        if not unit.low <= value <= top:
            raise UsageError(
                f"{unit.name} {value} does not exist",
                where=where,
                expected=f"{unit.low} to {unit.high}",
            )
    if dash and first > last:
        raise UsageError(
            f'"{base}" runs backwards',
            where=where,
            expected=f"two ranges: {first_text}-{unit.high},{unit.low}-{last_text}",
        )
    reached = range(first, max(first, last) + 1, step or 1)
    return sorted({value % 7 if top == 7 else value for value in reached})


def _number(text: str, unit: _Unit, where: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    if text.lower() in unit.names:
        return unit.names.index(text.lower()) + unit.low
    raise UsageError(
        f'"{text}" is no {unit.name}',
        where=where,
        expected=f"{unit.low} to {unit.high}"
        + (f" or {unit.names[0]} to {unit.names[-1]}" if unit.names else ""),
        remedy="L, W and # are not supported by Kubeflow Pipelines."
        if _OTHERS_DAYS.fullmatch(text)
        else None,
    )


def _shortest(values: Sequence[int]) -> list[str]:
    return [f"{low}-{high}" if high > low else str(low) for low, high in _runs(values)]


def _runs(values: Sequence[int] | frozenset[int]) -> list[tuple[int, int]]:
    """Returns the unbroken runs of some numbers, as first and last."""
    runs: list[tuple[int, int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs


def _clock_words(schedule: CronSchedule) -> str:
    parts = (schedule.hours, schedule.minutes, schedule.seconds)
    if len(parts[0]) * len(parts[1]) * len(parts[2]) <= _TIMES_SPELLED_OUT:
        seconds = schedule.seconds != {0}
        times = [
            f"{hour:02d}:{minute:02d}" + (f":{second:02d}" if seconds else "")
            for hour in sorted(parts[0])
            for minute in sorted(parts[1])
            for second in sorted(parts[2])
        ]
        return f"at {_listed(times)}"
    words: list[str] = []
    units = (("second", schedule.seconds, 60), ("minute", schedule.minutes, 60))
    for unit, values, whole in (*units, ("hour", schedule.hours, 24)):
        if not words and unit == "second" and values == {0}:
            continue
        if not words:
            words.append(_first_words(values, unit, whole))
        elif len(values) < whole or words[-1].startswith(("at", "of")):
            words.append(f"of {_unit_words(values, unit, whole)}")
    return " ".join(words)


def _step(values: frozenset[int], whole: int) -> int | None:
    """Returns the step of values that go evenly round from 0, as 15 in minutes 0, 15, 30, 45."""
    step = whole // len(values)
    even = len(values) > 1 and whole % step == 0 and values == set(range(0, whole, step))
    return step if even else None


def _first_words(values: frozenset[int], unit: str, whole: int) -> str:
    step = _step(values, whole)
    if step is None:
        return f"at {_unit_words(values, unit, whole)}"
    return f"every {unit}" if step == 1 else f"every {step} {unit}s"


def _unit_words(values: frozenset[int], unit: str, whole: int) -> str:
    step = _step(values, whole)
    if step == 1:
        return f"every {unit}"
    if step:
        return f"every {step}{ {2: 'nd', 3: 'rd'}.get(step, 'th') } {unit}"
    plural = "s" if len(values) > 1 else ""
    return f"{unit}{plural} {_listed(_named(_runs(values), (), first=0))}"


def _day_words(schedule: CronSchedule) -> str:
    every_day = schedule.days == _UNITS[3].all
    every_weekday = schedule.weekdays == _WEEKDAY_UNIT.all
    if every_day and every_weekday:
        return "every day"
    days = _listed(_named(_runs(schedule.days), (), first=0))
    days = f"on day{'s' if len(schedule.days) > 1 else ''} {days} of the month"
    if every_weekday and not schedule.either_day:
        return days
    # The week begins on Monday in words, so that a weekend is one run.
    monday_first = frozenset((value - 1) % 7 for value in schedule.weekdays)
    names = (*_WEEKDAYS[1:], _WEEKDAYS[0])
    weekdays = _listed(_named(_runs(monday_first), names, first=0))
    if every_day and not schedule.either_day:
        return f"on {weekdays}"
    return f"{days} or on {weekdays}" if schedule.either_day else f"{days} if it is {weekdays}"


def _named(runs: list[tuple[int, int]], names: Sequence[str], *, first: int) -> list[str]:
    def word(value: int) -> str:
        return names[value - first] if names else str(value)

    words: list[str] = []
    for low, high in runs:
        if high - low < 2:
            words += [word(value) for value in range(low, high + 1)]
        else:
            words.append(f"{word(low)} to {word(high)}")
    return words


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
