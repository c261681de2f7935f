"""Cron expressions: read as the scheduler of Kubeflow Pipelines reads them, and put into words."""

import datetime
import itertools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kfdet.core.cron import parse_cron
from kfdet.errors import UsageError

LIMITS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


@st.composite
def items(draw, low, high):
    kind = draw(st.sampled_from(["star", "star", "value", "range", "step", "range step"]))
    a, b = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
    step = draw(st.integers(1, high))
    return {
        "star": "*",
        "value": str(a),
        "range": f"{a}-{b}",
        "step": f"*/{step}",
        "range step": f"{a}-{b}/{step}",
    }[kind]


@st.composite
def expressions(draw):
    return " ".join(
        ",".join(draw(st.lists(items(low, high), min_size=1, max_size=2))) for low, high in LIMITS
    )


def parsed(text):
    try:
        return parse_cron(text)
    except UsageError as never:
        assume("never fires" not in str(never))
        raise


def matches(field, value, low, high):
    """The meaning of a field, written down a second time and otherwise: one value at a time."""
    for item in field.split(","):
        base, _, step = item.partition("/")
        first, _, last = base.partition("-")
        first, last = (low, high) if base == "*" else (int(first), int(last or first))
        if first <= value <= last and (value - first) % int(step or 1) == 0:
            return True
    return False


@given(expressions(), st.datetimes(datetime.datetime(2020, 1, 1), datetime.datetime(2030, 1, 1)))
def test_a_moment_fires_when_every_field_says_so(text, moment):
    schedule = parsed(text)
    fields = text.split()
    values = (moment.second, moment.minute, moment.hour, moment.day, moment.month)
    values = (*values, moment.isoweekday() % 7)
    said = [
        matches(f, v, low, high) for f, v, (low, high) in zip(fields, values, LIMITS, strict=True)
    ]
    either = not any(item[0] == "*" for f in (fields[3], fields[5]) for item in f.split(","))
    day = said[3] or said[5] if either else said[3] and said[5]
    fires = (
        moment.second in schedule.seconds
        and moment.minute in schedule.minutes
        and moment.hour in schedule.hours
        and schedule.fires_on(moment.date())
    )
    assert fires == (all(said[:3]) and said[4] and day)


@given(expressions())
def test_what_is_sent_means_the_same_and_is_plain_numbers(text):
    schedule = parsed(text)
    assert parse_cron(schedule.expression) == schedule
    assert set(schedule.expression) <= set("0123456789*/,- ")
    assert len(schedule.expression.split()) == 6


@given(expressions(), expressions())
@settings(max_examples=300, deadline=None)
def test_two_schedules_have_the_same_words_only_if_they_fire_alike(one, other):
    a, b = parsed(one), parsed(other)
    if a.in_words() == b.in_words():
        start = datetime.datetime(2026, 1, 1)
        first, second = (list(itertools.islice(s.times_after(start), 50)) for s in (a, b))
        assert first == second


@given(expressions(), st.datetimes(datetime.datetime(2020, 1, 1), datetime.datetime(2030, 1, 1)))
@settings(max_examples=50)
def test_the_next_times_grow_and_are_later(text, moment):
    times = list(itertools.islice(parsed(text).times_after(moment), 5))
    assert times == sorted(set(times))
    assert all(time > moment for time in times)


@given(expressions())
def test_five_fields_are_six_with_second_0(text):
    five = text.split(maxsplit=1)[1]
    try:
        schedule = parse_cron(five)
    except UsageError:
        return
    assert schedule == parse_cron(f"0 {five}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 3 * * 1", "at 03:00 on Monday"),
        ("0 3,15 * * *", "at 03:00 and 15:00 every day"),
        ("*/15 * * * *", "every 15 minutes"),
        ("*/7 8-17 * * mon-fri", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of hours 8 to 17 on Monday to Friday"),
        ("30 */2 * * *", "at minute 30 of every 2nd hour"),
        ("0 0 9 ? * 2-6", "at 09:00 on Tuesday to Saturday"),
        ("0 6 * * 5-7", "at 06:00 on Friday to Sunday"),
        ("0 0 13 * 5", "at 00:00 on day 13 of the month or on Friday"),
        ("0 0 */2 * 5", "at 00:00 on days 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29 and 31 of the month if it is Friday"),
        ("0 12 29 FEB *", "at 12:00 on day 29 of the month only in February"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("@daily", "at 00:00 every day"),
    ],
)  # fmt: skip
def test_an_expression_in_words(text, words):
    assert parse_cron(text).in_words() == words


def test_sunday_is_0_also_where_it_was_7():
    assert parse_cron("0 0 * * 7").expression == "0 0 0 * * 0"
    assert parse_cron("0 0 * * 6-7").weekdays == {0, 6}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("* * *", "has 3 fields"),
        ("61 * * * *", "minute 61 does not exist; expected 0 to 59"),
        ("0 0 0 * *", "day of the month 0 does not exist"),
        ("0 0 31 2 *", "never fires"),
        ("0 0 L * *", "L, W and # are not supported"),
        ("0 0 * * 5L", "L, W and # are not supported"),
        ("0 0 15W * *", "L, W and # are not supported"),
        ("0 0 * * mon#2", "L, W and # are not supported"),
        ("0 0 L-3 * *", "L, W and # are not supported"),
        ("TZ=Europe/Berlin 0 3 * * *", "a time zone can't be named"),
        ("CRON_TZ=UTC 0 0 3 * * *", "UTC, unless its variable CRON_SCHEDULE_TIMEZONE says"),
        ("tz=UTC @daily", "a time zone can't be named"),
        ("0 22-6 * * *", "two ranges: 22-23,0-6"),
        ("*/0 * * * *", "is 0"),
        ("@dayly", 'Did you mean "@daily"?'),
        ("0 0 * * mob", '"mob" is no day of the week; expected 0 to 6 or sun to sat'),
        ("-1 * * * *", "is no minute"),
        ("1,, * * * *", "is no minute"),
    ],
)
def test_what_is_no_schedule_is_explained(text, said):
    with pytest.raises(UsageError) as failure:
        parse_cron(text)
    assert said in str(failure.value)


@pytest.mark.parametrize("text", ["0 3 * * Wensday", "0 3 * APRIL *", "0 3 wed * *", "LL 3 * * *"])
def test_letters_of_other_words_are_not_taken_for_last_and_working_days(text):
    with pytest.raises(UsageError) as failure:
        parse_cron(text)
    assert "L, W and #" not in str(failure.value)
