//! When what failed is tried again.

use tonic::Status;

use super::*;

const MILLIS_100: Duration = Duration::from_millis(100);

fn retry(seconds: u64) -> Retry {
    let resume = Resume::For(Duration::from_secs(seconds));
    let mut retry = Retry::new(resume, RetryPolicy::default(), Instant::now());
    retry.progress();
    retry
}

#[test]
fn pauses_double_up_to_the_longest() {
    let now = Instant::now();
    let mut patient = retry(3600);
    let pauses = (0..8).map(|_| {
        patient
            .pause(Setback::Cut, now, u32::MAX)
            .unwrap()
            .as_millis()
    });
    let pauses: Vec<_> = pauses.collect();
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    patient.progress();
    assert_eq!(
        patient.pause(Setback::Unreached, now, u32::MAX),
        Some(MILLIS_100)
    );
    // Chance takes up to half of it away.
    patient.progress();
    assert_eq!(patient.pause(Setback::Cut, now, 0), Some(MILLIS_100 / 2));
}

#[test]
fn time_without_progress_is_bounded() {
    let begin = Instant::now();
    let at = |millis| begin + Duration::from_millis(millis);
    let mut retry = retry(1);
    assert_eq!(retry.pause(Setback::Cut, at(0), u32::MAX), Some(MILLIS_100));
    // The last pause ends with the time.
    assert_eq!(
        retry.pause(Setback::Cut, at(900), u32::MAX),
        Some(MILLIS_100)
    );
    assert_eq!(retry.pause(Setback::Cut, at(1000), u32::MAX), None);
    retry.progress();
    assert_eq!(
        retry.pause(Setback::Cut, at(5000), u32::MAX),
        Some(MILLIS_100)
    );
}

#[test]
fn server_says_when_to_come_again() {
    let now = Instant::now();
    let mut retry = retry(60);
    let later = |seconds| Setback::Later(Duration::from_secs(seconds));
    assert_eq!(retry.pause(later(7), now, 0), Some(Duration::from_secs(7)));
    assert_eq!(retry.pause(later(61), now, 0), None);
}

#[test]
fn what_never_began_or_is_final_is_not_repeated() {
    let now = Instant::now();
    let never = |policy| Retry::new(Resume::Never, policy, now);
    let mut first = never(RetryPolicy::default());
    for setback in [Setback::Unreached, Setback::Cut, Setback::Final] {
        assert_eq!(first.pause(setback, now, 0), None, "{setback:?}");
    }
    let later = Setback::Later(MILLIS_100);
    assert_eq!(never(RetryPolicy::none()).pause(later, now, 0), None);
    // A refusal comes before anything that there is to resume.
    assert_eq!(first.pause(later, now, 0), Some(MILLIS_100));
    assert!(!first.touched);
    let mut begun = retry(60);
    assert_eq!(begun.pause(Setback::Final, now, 0), None);
    let mut never = never(RetryPolicy::default());
    never.progress();
    assert_eq!(never.pause(Setback::Cut, now, 0), None);
}

#[test]
fn what_something_on_the_way_says_is_no_refusal() {
    let call = Call {
        address: "http://gate.example:1".into(),
        method: "ExecService/Run",
    };
    let setback = |status| Setback::of(&call.failed(status));
    assert_eq!(
        setback(Status::unavailable("no healthy upstream")),
        Setback::Cut
    );
    assert_eq!(setback(Status::cancelled("by the proxy")), Setback::Cut);
    assert_eq!(setback(Status::not_found("nothing here")), Setback::Final);
    assert_eq!(setback(Status::unimplemented("")), Setback::Final);
    assert_eq!(Setback::of(&call.cut_short()), Setback::Cut);
}
