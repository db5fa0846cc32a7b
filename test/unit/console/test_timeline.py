"""What becomes of chunks, from observation to the one that takes over."""

from action_images_ros.console.timeline import Timeline, Verdict

MS = 1_000_000


def run(*chunks: tuple[int, Verdict]) -> Timeline:
    timeline = Timeline()
    for stamp_ms, verdict in chunks:
        timeline.generated(stamp_ms * MS, (stamp_ms + 200) * MS)
        timeline.decoded(stamp_ms * MS, (stamp_ms + 250) * MS, 9, 0.4)
        timeline.judged(stamp_ms * MS, (stamp_ms + 260) * MS, verdict, "" if verdict is Verdict.ACCEPTED else "why")
    return timeline


def test_an_accepted_chunk_is_played_until_the_next_one_takes_over():
    first, second = run((1000, Verdict.ACCEPTED), (1500, Verdict.ACCEPTED)).since(0)
    assert first.played_until_ns == 1760 * MS and second.played_until_ns is None
    assert second.end_ns == (1500 + 8 * 400) * MS and (first.number, second.number) == (0, 1)


def test_a_refused_or_unused_chunk_takes_nothing_over():
    timeline = run((1000, Verdict.ACCEPTED), (1500, Verdict.REFUSED), (1800, Verdict.UNUSED))
    first, second, third = timeline.since(0)
    assert first.played_until_ns is None and (second.verdict, second.reason) == (Verdict.REFUSED, "why")
    assert (timeline.accepted, timeline.refused) == (1, 1) and third.verdict is Verdict.UNUSED


def test_leaving_off_ends_what_is_played_and_only_that():
    timeline = run((1000, Verdict.ACCEPTED))
    timeline.left_off(2000 * MS)
    timeline.left_off(3000 * MS)
    assert timeline.since(0)[0].played_until_ns == 2000 * MS


def test_steps_that_were_due_before_the_verdict_are_counted_as_passed():
    timeline = Timeline()
    timeline.decoded(0, 0, 9, 0.4)
    timeline.judged(0, 900 * MS, Verdict.ACCEPTED, "")
    assert timeline.since(0)[0].steps_passed == 3
    assert timeline.since(0)[0].end_ns == 3200 * MS


def test_old_chunks_are_forgotten():
    timeline = run(*((100 * k, Verdict.REFUSED) for k in range(500)))
    assert len(timeline.since(0)) == 200
    assert [r.stamp_ns for r in timeline.since((100 * 499) * MS) if r.stamp_ns >= 100 * 499 * MS] == [49_900 * MS]
