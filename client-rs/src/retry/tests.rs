//! Which calls are made again, and after which pauses.

use super::*;

const HALF_SECOND: Duration = Duration::from_millis(500);

fn tries(policy: RetryPolicy, repeat: Repeat) -> (Tries, Instant) {
    let now = Instant::now();
    (Tries::new(policy, repeat, now), now)
}

#[test]
fn what_passes_is_tried_again_where_that_is_harmless() {
    let cases = [
        (Setback::Later(HALF_SECOND), true, true),
        (Setback::Unreached, true, true),
        (Setback::Cut, true, false),
        (Setback::Final, false, false),
    ];
    for (setback, always, refused) in cases {
        for (repeat, expected) in [(Repeat::Always, always), (Repeat::Refused, refused)] {
            let (mut tries, now) = tries(RetryPolicy::default(), repeat);
            let pause = tries.pause(setback, now, 0);
            assert_eq!(pause.is_some(), expected, "{setback:?} {repeat:?}");
        }
    }
}

#[test]
fn pauses_double_and_end_with_the_attempts() {
    let (mut patient, now) = tries(RetryPolicy::default(), Repeat::Always);
    let pauses = (0..8).map(|_| patient.pause(Setback::Cut, now, u32::MAX));
    let pauses: Vec<_> = pauses.map(|pause| pause.map(|p| p.as_millis())).collect();
    let expected = [100, 200, 400, 800, 1600, 3200, 5000].map(Some);
    assert_eq!(pauses, [&expected[..], &[None]].concat());
    let (mut never, now) = tries(RetryPolicy::none(), Repeat::Always);
    assert_eq!(never.pause(Setback::Later(HALF_SECOND), now, 0), None);
}

#[test]
fn the_servers_delay_wins_and_the_total_bounds_all() {
    let policy = RetryPolicy::default().total(Duration::from_secs(2));
    let (mut patient, began) = tries(policy, Repeat::Always);
    let later = Setback::Later(HALF_SECOND);
    let at = |millis| began + Duration::from_millis(millis);
    assert_eq!(patient.pause(later, at(0), 0), Some(HALF_SECOND));
    assert_eq!(patient.pause(later, at(1600), 0), None);
    let pause = patient.pause(Setback::Cut, at(1600), u32::MAX);
    assert_eq!(pause, Some(Duration::from_millis(400)));
    assert_eq!(patient.pause(Setback::Cut, at(2000), u32::MAX), None);
}
