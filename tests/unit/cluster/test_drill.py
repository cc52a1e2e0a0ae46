"""Drill files are strict, and the verdict follows from recorded events: each way to fail is shown
to fail.
"""

import random

import pytest

from cluster.drill.interruptions import Outcome
from cluster.drill.plan import decode_drill
from cluster.drill.promises import State
from cluster.drill.verdict import Result, Verdict, judge
from tests.unit.cluster.drill_record import (
    DRILL_TOML,
    END_T,
    FAULT_T,
    KILL_GW2,
    Record,
    drill,
    good_record,
    struck,
    undisturbed,
)


def state(verdict: Verdict, number: int) -> State:
    return verdict.promises[number - 1].state


def whys(verdict: Verdict, number: int) -> list[str]:
    return [breach.why for breach in verdict.promises[number - 1].breaches]


# --- kept


def test_all_resumed_is_kept() -> None:
    verdict = judge(drill(4), good_record().events)
    assert verdict.result is Result.KEPT, verdict.reasons
    assert verdict.exit_code == 0
    assert verdict.reasons == ()
    counts = verdict.counts
    assert (counts.affected, counts.resumed, counts.rehandshaked, counts.lost) == (2, 2, 0, 0)
    assert counts.with_ticket == 2
    assert verdict.before == {"gw1": 1, "gw2": 2, "gw3": 1}
    assert verdict.after == {"gw1": 2, "gw2": 0, "gw3": 2}


def test_time_without_service_runs_from_the_last_answer_to_the_first_after_it_is_back() -> None:
    spread = judge(drill(4), good_record().events).without_service
    assert spread is not None
    assert spread.sessions == 2
    assert spread.p50_s == pytest.approx(1.7)  # 0.1 before the fault, back at 1.5, answered at 1.6
    assert spread.p99_s == spread.max_s == pytest.approx(2.7)


def test_an_answer_that_left_before_the_kill_and_was_recorded_after_it_ends_no_outage() -> None:
    record = good_record()
    record.add("c0003", FAULT_T + 0.01, "answered")
    verdict = judge(drill(4), record.events)
    times = {i.client: i.without_service_s for i in verdict.interruptions}
    assert times["c0003"] == pytest.approx(1.59)


def test_who_noticed_the_death_and_when() -> None:
    noticed = judge(drill(4), good_record().events).noticed
    assert [(n.by, n.fault) for n in noticed] == [("gw1", "kill gw2"), ("gw3", "kill gw2")]
    assert noticed[0].suspected_s == pytest.approx(1.1)
    assert noticed[1].declared_dead_s == pytest.approx(4.3)


def test_a_death_that_nobody_noticed_has_no_time() -> None:
    events = [e for e in good_record().events if e.kind not in ("suspected", "declared_dead")]
    assert {n.suspected_s for n in judge(drill(4), events).noticed} == {None}


def test_promises_that_were_not_put_to_the_test_are_not_called_kept() -> None:
    verdict = judge(drill(4), good_record().events)
    tested = [p.number for p in verdict.promises if p.state is State.KEPT]
    assert tested == [1, 3, 5, 6, 8]
    assert [p.number for p in verdict.promises if p.state is State.NOT_TESTED] == [2, 4, 7]


def test_the_order_in_which_events_are_read_does_not_matter() -> None:
    events = good_record().events
    expected = judge(drill(4), events)
    shuffled = list(events)
    random.Random(7).shuffle(shuffled)
    assert judge(drill(4), shuffled) == expected


def test_a_session_adopted_without_a_new_handshake_is_kept_with_its_longest_silence() -> None:
    record = Record()
    record.session("c0001", "gw2", 101.0)
    record.answers("c0001", 101.2, FAULT_T)
    record.fault("stop")
    record.answers("c0001", FAULT_T + 3, END_T)
    record.end("01")
    plan = drill(1, "[8]", KILL_GW2.replace("kill", "stop"))
    verdict = judge(plan, record.events)
    assert verdict.result is Result.KEPT, verdict.reasons
    assert verdict.counts.kept == 1
    assert verdict.without_service is not None
    assert verdict.without_service.max_s == pytest.approx(3.0)


# --- broken


def test_a_full_handshake_with_a_valid_ticket_breaks_promise_1() -> None:
    record = good_record()
    undisturbed(record, "c0006", "gw1")
    record.add("c0005", FAULT_T + 1.4, "ticket_refused", gateway=record.address("gw3"))
    struck(record, "c0005", how="full", generation=1)
    verdict = judge(drill(6), record.events)
    assert verdict.result is Result.BROKEN
    assert verdict.exit_code == 1
    assert verdict.counts.rehandshaked == 1
    assert state(verdict, 1) is State.BROKEN
    breach = verdict.promises[0].breaches[0]
    assert (breach.who, breach.why) == ("c0005", "gw3 refused a valid ticket")
    assert breach.t_s == pytest.approx(1.4)


def test_a_full_handshake_breaks_promise_1_even_if_nobody_refused_the_ticket() -> None:
    record = good_record()
    struck(record, "c0005", how="full", generation=1)
    verdict = judge(drill(5), record.events)
    assert whys(verdict, 1) == ["full handshake at gw3 with a valid ticket"]


def test_a_refused_ticket_breaks_promise_1_even_if_the_client_resumed_later() -> None:
    record = good_record()
    record.add("c0003", FAULT_T + 1.0, "ticket_refused", gateway=record.address("gw1"))
    verdict = judge(drill(4), record.events)
    assert verdict.result is Result.BROKEN
    assert whys(verdict, 1) == ["gw1 refused a valid ticket"]


def test_a_full_handshake_without_a_ticket_breaks_no_promise_but_the_expectation() -> None:
    record = good_record()
    struck(record, "c0005", how="full", ticket=False, generation=1)
    verdict = judge(drill(5), record.events)
    assert state(verdict, 1) is State.KEPT
    assert verdict.counts.with_ticket == 2
    assert verdict.result is Result.BROKEN
    assert verdict.reasons == ("1 full handshake, 0 allowed",)


def test_a_full_handshake_with_an_expired_ticket_breaks_no_promise() -> None:
    record = good_record()
    struck(record, "c0005", how="full", ticket=False, generation=1)
    record.add("c0005", 102.0, "ticket", lifetime_s=5.0)
    assert state(judge(drill(5), record.events), 1) is State.KEPT


def test_the_ticket_of_a_former_session_does_not_count() -> None:
    record = good_record()
    record.session("c0005", "gw1", 100.5)
    struck(record, "c0005", how="full", ticket=False, generation=1)
    verdict = judge(drill(5), record.events)
    assert [i.held_ticket for i in verdict.interruptions if i.client == "c0005"] == [False]


def test_a_lost_session_says_why_and_breaks_promise_1_if_it_held_a_ticket() -> None:
    record = good_record()
    record.session("c0005", "gw2", 101.0)
    record.answers("c0005", 101.2, FAULT_T)
    at = record.address("gw3")
    record.add("c0005", FAULT_T + 3, "failed", gateway=at, how="resumed", why="no answer")
    verdict = judge(drill(5), record.events)
    assert verdict.result is Result.BROKEN
    assert verdict.counts.lost == 1
    assert whys(verdict, 1) == [
        "lost with a valid ticket: resumed attempt at gw3 failed: no answer"
    ]
    assert "1 session lost, 0 allowed" in verdict.reasons


def test_a_session_that_an_error_ended_says_so() -> None:
    record = good_record()
    record.session("c0005", "gw2", 101.0)
    record.answers("c0005", 101.2, FAULT_T)
    record.add("c0005", FAULT_T + 3, "ended", gateway=record.address("gw3"), why="malformed")
    verdict = judge(drill(5), record.events)
    assert whys(verdict, 1) == ["lost with a valid ticket: its SA at gw3 ended: malformed"]


def test_established_again_but_never_answered_is_lost() -> None:
    record = good_record()
    record.session("c0005", "gw2", 101.0)
    record.answers("c0005", 101.2, FAULT_T)
    record.session("c0005", "gw3", FAULT_T + 1.5, how="resumed", generation=2)
    verdict = judge(drill(5), record.events)
    assert verdict.counts.lost == 1
    lost = [i for i in verdict.interruptions if i.outcome is Outcome.LOST]
    assert lost[0].why == "established again at gw3, but no liveness was answered since"
    assert lost[0].without_service_s is None


def test_back_and_silent_again_is_lost() -> None:
    record = good_record()
    record.session("c0005", "gw2", 101.0)
    record.answers("c0005", 101.2, FAULT_T)
    record.session("c0005", "gw3", FAULT_T + 1.5, how="resumed", generation=2)
    record.answers("c0005", FAULT_T + 1.6, FAULT_T + 3)
    verdict = judge(drill(5), record.events)
    assert [i.why for i in verdict.interruptions if i.outcome is Outcome.LOST] == [
        "fell silent again at gw3"
    ]


def test_an_expired_ticket_may_be_refused_and_its_client_lost_without_breaking_promise_1() -> None:
    record = good_record()
    record.session("c0005", "gw2", 101.0, ticket=False)
    record.add("c0005", 102.0, "ticket", lifetime_s=5.0)
    record.answers("c0005", 101.2, FAULT_T)
    record.add("c0005", FAULT_T + 1.0, "ticket_refused", gateway=record.address("gw1"))
    verdict = judge(drill(5), record.events)
    assert verdict.counts.lost == 1
    assert state(verdict, 1) is State.KEPT


def test_a_client_that_ended_by_itself_is_lost() -> None:
    record = good_record()
    record.session("c0005", "gw1", 101.0)
    record.answers("c0005", 101.2, END_T - 0.2)
    record.add("c0005", END_T - 0.1, "closed")
    verdict = judge(drill(5), record.events)
    assert [i.why for i in verdict.interruptions if i.outcome is Outcome.LOST] == [
        "the client ended"
    ]


def test_a_full_handshake_on_the_way_counts_even_if_the_last_step_was_a_resumption() -> None:
    record = good_record()
    struck(record, "c0005", how="full", ticket=False, generation=1)
    record.session("c0005", "gw1", FAULT_T + 5, how="resumed", generation=2)
    verdict = judge(drill(5), record.events)
    assert (verdict.counts.resumed, verdict.counts.rehandshaked) == (2, 1)


def test_a_ticket_redeemed_twice_breaks_promise_3() -> None:
    record = good_record()
    record.add(
        "gw1",
        FAULT_T + 1.6,
        "sa_established",
        spi="ff",
        chain="chain-c0003",
        generation=2,
        how="resumed",
    )
    verdict = judge(drill(4), record.events)
    assert verdict.result is Result.BROKEN
    assert whys(verdict, 3) == ["ticket of generation 1 redeemed at gw3 and gw1"]


def test_two_resumptions_of_one_chain_one_after_the_other_keep_promise_3() -> None:
    record = good_record()
    record.add(
        "gw1",
        FAULT_T + 5,
        "sa_established",
        spi="ff",
        chain="chain-c0003",
        generation=3,
        how="resumed",
    )
    assert state(judge(drill(4), record.events), 3) is State.KEPT


def test_one_spi_given_out_twice_breaks_promise_5() -> None:
    record = good_record()
    spi = record.events[-1].spi_r
    record.session("c0005", "gw1", 101.0, spi=spi)
    record.answers("c0005", 101.2, END_T)
    verdict = judge(drill(5), record.events)
    assert verdict.result is Result.BROKEN
    assert state(verdict, 5) is State.BROKEN


def test_a_session_that_is_not_in_the_store_breaks_promise_6() -> None:
    record = good_record()
    record.add("drill", END_T + 0.6, "readback", spi_r="77", found=False)
    verdict = judge(drill(4), record.events)
    assert verdict.result is Result.BROKEN
    assert [b.who for b in verdict.promises[5].breaches] == ["SPI 77"]


def test_a_session_disturbed_that_no_fault_touched_is_broken() -> None:
    record = good_record()
    record.session("c0005", "gw1", 101.0)
    record.answers("c0005", 101.2, FAULT_T + 2)
    record.session("c0005", "gw3", FAULT_T + 3, how="resumed", generation=2)
    record.answers("c0005", FAULT_T + 3.1, END_T)
    verdict = judge(drill(5), record.events)
    assert verdict.counts.bystanders_disturbed == 1
    assert verdict.counts.affected == 2
    assert verdict.reasons == ("1 session disturbed that no fault touched",)


def test_a_limit_on_the_time_without_service_is_checked() -> None:
    text = DRILL_TOML.format(clients=4, promises="[1]\nwithout_service_max_s = 2.6", fault=KILL_GW2)
    verdict = judge(decode_drill(text, "x"), good_record().events)
    assert verdict.reasons == ("a session was 2.70 s without service, 2.6 allowed",)
    assert verdict.exit_code == 1


# --- inconclusive


def test_nothing_affected_proves_nothing() -> None:
    record = Record()
    spi = undisturbed(record, "c0001", "gw1")
    record.fault()
    record.end(spi)
    verdict = judge(drill(1), record.events)
    assert verdict.result is Result.INCONCLUSIVE
    assert verdict.exit_code == 2
    assert "no session was affected: nothing was put to the test" in verdict.reasons


def test_affected_clients_without_tickets_leave_promise_1_untested() -> None:
    record = Record()
    spi = struck(record, "c0001", how="resumed", ticket=False)
    record.fault()
    record.end(spi)
    verdict = judge(drill(1), record.events)
    assert state(verdict, 1) is State.NOT_TESTED
    assert verdict.exit_code == 2


def test_a_client_missing_before_the_fault_makes_it_inconclusive() -> None:
    verdict = judge(drill(5), good_record().events)
    assert verdict.exit_code == 2
    assert verdict.reasons == ("4 of 5 clients were in service at the fault",)


def test_a_client_established_but_never_answered_was_not_in_service() -> None:
    record = good_record()
    record.session("c0005", "gw1", 101.0)
    verdict = judge(drill(5), record.events)
    assert "4 of 5 clients were in service at the fault" in verdict.reasons


def test_a_record_without_an_end_or_a_fault_is_inconclusive() -> None:
    events = [e for e in good_record().events if e.kind != "phase"]
    assert "the record ends before the drill did" in judge(drill(4), events).reasons
    events = [e for e in good_record().events if e.kind != "fault"]
    verdict = judge(drill(4), events)
    assert "0 of 1 faults were carried out" in verdict.reasons
    assert verdict.exit_code == 2
    assert judge(drill(4), []).exit_code == 2


def test_what_is_broken_stays_broken_in_a_record_that_is_cut_short() -> None:
    record = good_record()
    struck(record, "c0005", how="full", generation=1)
    events = [e for e in record.events if e.kind != "phase"]
    assert judge(drill(5), events).exit_code == 1


# --- the store away, keys rotated, several faults

BLINK = 'action = "stop-store"\nat_s = 1\n[[fault]]\naction = "start-store"\nat_s = 5'


def blink(until: float) -> Record:
    record = Record()
    spi = record.session("c0001", "gw1", 101.0)
    record.answers("c0001", 101.2, until)
    record.fault("stop-store", "", 110.0)
    record.fault("start-store", "", 114.0)
    record.end(spi)
    return record


def test_liveness_answered_without_the_store_keeps_promise_2() -> None:
    verdict = judge(drill(1, "[2, 5, 6]", BLINK), blink(END_T).events)
    assert verdict.result is Result.KEPT, verdict.reasons
    assert state(verdict, 2) is State.KEPT
    assert "1 session answered 20 times in 4.0 s without the store" in verdict.promises[1].tested
    assert verdict.counts.kept == verdict.counts.affected == 1
    assert verdict.without_service is not None
    assert verdict.without_service.max_s == pytest.approx(0.2)


def test_silence_without_the_store_breaks_promise_2() -> None:
    record = blink(109.9)
    record.answers("c0001", 114.2, END_T)
    verdict = judge(drill(1, "[2]", BLINK), record.events)
    assert whys(verdict, 2) == ["not one answer while the store was away"]


def test_giving_a_gateway_up_without_the_store_breaks_promise_2() -> None:
    record = blink(111.0)
    record.add("c0001", 113.0, "unanswered", gateway=record.address("gw1"))
    record.answers("c0001", 114.2, END_T)
    verdict = judge(drill(1, "[2]", BLINK), record.events)
    assert whys(verdict, 2) == ["gw1 stopped answering"]


def test_a_session_whose_gateway_was_killed_meanwhile_says_nothing_about_the_store() -> None:
    record = blink(END_T)
    record.session("c0002", "gw2", 101.0)
    record.answers("c0002", 101.2, 111.0)
    record.fault("kill", "gw2", 111.1)
    record.add("c0002", 113.0, "unanswered", gateway=record.address("gw2"))
    record.session("c0002", "gw1", 115.0, how="resumed", generation=2)
    record.answers("c0002", 115.1, END_T)
    verdict = judge(drill(2, "[2]", BLINK), record.events)
    assert state(verdict, 2) is State.KEPT
    assert "1 session answered" in verdict.promises[1].tested


def test_promise_4_is_judged_only_if_keys_were_rotated() -> None:
    record = good_record()
    record.add("gw1", 105.0, "ring_installed", revision=9)
    assert state(judge(drill(4), record.events), 4) is State.KEPT
    record.add("c0003", FAULT_T + 1.0, "ticket_refused", gateway=record.address("gw1"))
    assert state(judge(drill(4), record.events), 4) is State.BROKEN


def test_a_gateway_that_installs_the_known_ring_again_rotates_nothing() -> None:
    record = good_record()
    record.add("gw1", 99.6, "ring_installed", revision=9)
    record.add("gw2", 115.0, "ring_installed", revision=9)
    assert state(judge(drill(4), record.events), 4) is State.NOT_TESTED


def test_a_ring_overwritten_by_force_is_no_rotation() -> None:
    record = good_record()
    record.fault("replace-ring", "", 105.0)
    record.add("gw1", 105.1, "ring_installed", revision=9)
    verdict = judge(drill(4), record.events)
    assert state(verdict, 4) is State.NOT_TESTED


def test_a_gateway_lost_before_its_new_clients_were_back_is_one_interruption() -> None:
    record = Record()
    record.session("c0001", "gw2", 101.0)
    record.answers("c0001", 101.2, 109.9)
    record.fault("kill", "gw2", 110.0)
    record.session("c0001", "gw3", 111.0, how="resumed", generation=2)
    record.fault("kill", "gw3", 111.01)
    spi = record.session("c0001", "gw1", 113.0, how="resumed", generation=3)
    record.answers("c0001", 113.1, END_T)
    record.end(spi)
    two = KILL_GW2 + '\n[[fault]]\naction = "kill"\ntarget = "gw3"\nat_s = 6'
    verdict = judge(drill(1, "[1]", two), record.events)
    assert verdict.result is Result.KEPT, verdict.reasons
    assert [i.outcome for i in verdict.interruptions] == [Outcome.RESUMED]
    assert verdict.interruptions[0].without_service_s == pytest.approx(113.1 - 109.8)


def test_a_gateway_killed_twice_is_noticed_twice() -> None:
    record = Record()
    for killed_t in (104.0, 112.0):
        record.fault("kill", "gw2", killed_t)
    record.add("gw1", 105.0, "suspected", member="gw2")
    record.add("gw1", 114.0, "suspected", member="gw2")
    record.add("gw3", 114.5, "suspected", member="gw2")
    record.fault("kill", "gw1", 114.2)
    record.end()
    noticed = judge(drill(1), record.events).noticed
    assert [(n.fault, n.by, n.suspected_s) for n in noticed[:4]] == [
        ("kill gw2", "gw1", 1.0),
        ("kill gw2", "gw3", None),
        ("kill gw2", "gw1", 2.0),
        ("kill gw2", "gw3", 2.5),
    ]


def test_two_faults_that_hit_a_client_one_after_the_other_are_two_interruptions() -> None:
    record = Record()
    struck(record, "c0001", fault_t=104.0, to="gw3", after_s=1.0)
    record.events = [e for e in record.events if e.kind != "answered" or e.t <= 112.0]
    record.fault("kill", "gw2", 104.0)
    record.fault("kill", "gw3", 112.0)
    spi = record.session("c0001", "gw1", 114.0, how="resumed", generation=3)
    record.answers("c0001", 114.1, END_T)
    record.end(spi)
    two = KILL_GW2 + '\n[[fault]]\naction = "kill"\ntarget = "gw3"\nat_s = 6'
    verdict = judge(drill(1, "[1]", two), record.events)
    assert verdict.result is Result.KEPT, verdict.reasons
    assert [(i.fault, i.new_gateway) for i in verdict.interruptions] == [
        ("kill gw2", "gw3"),
        ("kill gw3", "gw1"),
    ]
