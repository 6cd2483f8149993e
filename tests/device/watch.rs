//! Whether the work of PID 1 gets on.

use std::time::Duration;

use vfioboot::device::boot::watch::{Judgement, Sight, Watch};

const DEADLINE: Duration = Duration::from_secs(5);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Judge a process every 100 ms until there is something other than waiting; `see` says what it
/// looks like at a time, in milliseconds.
fn watch(deadline: Duration, see: impl Fn(u64) -> Sight) -> (u64, Judgement) {
    let mut watch = Watch::default();
    for at in (0..=120_000).step_by(100) {
        match watch.judge(ms(at), deadline, see(at)) {
            Judgement::InTime => assert!(ms(at) < deadline),
            Judgement::GetsOn => assert!(ms(at) >= deadline),
            end => return (at, end),
        }
    }
    panic!("it waits for ever");
}

fn computes(until: u64) -> impl Fn(u64) -> Sight {
    move |at| Sight { cpu: Some(ms(at.min(until) / 10)), reported: 0, state: Some('D') }
}

#[test]
fn work_that_hangs_has_the_deadline_and_no_more() {
    assert_eq!(watch(DEADLINE, computes(200)), (5000, Judgement::Stuck(ms(4800))));
}

#[test]
fn work_that_gets_on_has_more_time_and_not_for_ever() {
    assert_eq!(watch(DEADLINE, computes(9000)), (11_500, Judgement::Stuck(ms(2500))));
    assert_eq!(watch(DEADLINE, computes(u64::MAX)), (30_000, Judgement::TooLong));
    let long = Duration::from_secs(40);
    assert_eq!(watch(long, computes(u64::MAX)), (60_000, Judgement::TooLong));
    let longest = Duration::from_secs(600);
    assert!(watch(longest, computes(u64::MAX)).0 == 60_000);
}

#[test]
fn reports_and_the_state_are_progress_too() {
    let reports = |at: u64| Sight { reported: (at / 2000) as usize, ..computes(0)(at) };
    assert_eq!(watch(DEADLINE, reports), (30_000, Judgement::TooLong));
    let runs = |at| Sight { state: Some(if at < 8000 { 'R' } else { 'S' }), ..computes(0)(at) };
    assert_eq!(watch(DEADLINE, runs), (10_400, Judgement::Stuck(ms(2500))));
}

#[test]
fn a_short_deadline_stays_short() {
    assert_eq!(watch(ms(100), computes(50)), (200, Judgement::Stuck(ms(100))));
}

#[test]
fn where_nothing_can_be_seen_time_is_all_there_is() {
    let (at, end) = watch(DEADLINE, |_| Sight::default());
    assert!(matches!((at, end), (5000, Judgement::Stuck(_))));
}
