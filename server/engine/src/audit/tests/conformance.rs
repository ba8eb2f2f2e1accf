//! What every store owes, asked of every store.

use std::sync::Arc;

use execgate_core::audit::{AuditCause, AuthFailure, ExecutionDenied, NoteSigner};
use zeroize::Zeroizing;

use super::*;

pub(super) fn signer() -> Arc<NoteSigner> {
    Arc::new(NoteSigner::from_seed(&Zeroizing::new([7; 32])))
}

struct Subject {
    name: &'static str,
    store: Box<dyn AuditStore>,
    _place: Place,
}

fn stores() -> Vec<Subject> {
    let on_disk = |name, index| {
        let place = place();
        let options = SegmentLogOptions {
            index,
            signer: Some(signer()),
            ..small()
        };
        let store = SegmentLog::open(&place.dir, options, NOW).unwrap();
        Subject {
            name,
            store: Box::new(store),
            _place: place,
        }
    };
    vec![
        on_disk("indexed", IndexMode::Sqlite),
        on_disk("scanned", IndexMode::Scan),
        Subject {
            name: "memory",
            store: Box::new(MemoryLog::new(Some(signer()))),
            _place: place(),
        },
    ]
}

/// Records of all sorts, different in everything that is filtered by.
fn varied(number: u64) -> NewRecord {
    let execution = format!("e{}", number / 3);
    let text = format!("make part-{number}");
    let body = match number % 5 {
        0 => intent(&execution).body,
        1 => AuditBody::ExecutionDenied(ExecutionDenied {
            command: text,
            command_hash: Digest::default(),
            command_kind: CommandKind::Script,
            rule: "r".to_owned(),
            reason: "no".to_owned(),
            policy_hash: Digest::default(),
        }),
        2 => AuditBody::AuthFailure(AuthFailure {
            method: "/x".to_owned(),
            peer: "tcp".to_owned(),
            reason: "no token".to_owned(),
        }),
        _ => AuditBody::ExecutionOutcome(ExecutionOutcome {
            outcome: AuditOutcome::Exit {
                code: i32::from(number.is_multiple_of(2)),
            },
            cause: match number % 4 {
                0 => AuditCause::Timeout,
                _ => AuditCause::Exited,
            },
            observed_by: AuditObserver::Shell,
            wall_micros: number,
            totals: Vec::new(),
        }),
    };
    NewRecord {
        // The clock goes back now and then.
        time: Micros(1_000_000 + number * 10 - (number % 7) * 25),
        principal: format!("p{}", number % 2),
        session_id: (!number.is_multiple_of(4)).then(|| format!("s{}", number % 3)),
        execution_id: Some(execution),
        ..record("", body)
    }
}

fn queries() -> Vec<AuditQuery> {
    let all = AuditQuery::default;
    vec![
        all(),
        AuditQuery {
            principal: Some("p1".to_owned()),
            ..all()
        },
        AuditQuery {
            session_ids: vec!["s1".to_owned(), "s2".to_owned(), "s1".to_owned()],
            failed_only: true,
            ..all()
        },
        AuditQuery {
            execution_id: Some("e4".to_owned()),
            ..all()
        },
        AuditQuery {
            kinds: vec![AuditKind::AuthFailure, AuditKind::ExecutionIntent],
            since: Some(Micros(1_000_200)),
            ..all()
        },
        AuditQuery {
            decision: Some(Decision::Denied),
            text: Some("part-2".to_owned()),
            ..all()
        },
        AuditQuery {
            decision: Some(Decision::Denied),
            kinds: vec![AuditKind::ExecutionIntent],
            ..all()
        },
        AuditQuery {
            causes: vec![AuditCause::Timeout],
            principal: Some("p0".to_owned()),
            session_ids: vec!["s0".to_owned(), "s1".to_owned()],
            ..all()
        },
        AuditQuery {
            until: Some(Micros(1_000_300)),
            through: Some(40),
            ..all()
        },
        AuditQuery {
            text: Some("'; DROP TABLE records; --".to_owned()),
            ..all()
        },
    ]
}

async fn pages(store: &dyn AuditStore, query: AuditQuery) -> Vec<u64> {
    let mut found = Vec::new();
    let mut query = query;
    loop {
        let page = store.list(query.clone()).await.unwrap();
        assert!(page.records.len() <= query.effective_limit());
        found.extend(page.records.iter().map(|record| record.sequence));
        query.through = Some(page.through);
        match page.next {
            Some(next) => query.start = next,
            None => return found,
        }
    }
}

#[tokio::test]
async fn sequences_have_no_holes_however_many_append_at_once() {
    for Subject { name, store, .. } in stores() {
        let appends = (0..100).map(|number| store.append(varied(number), Durability::Synced));
        let sequences: Vec<_> = join_all(appends)
            .await
            .into_iter()
            .map(|appended| appended.unwrap().sequence)
            .collect();
        assert_eq!(sequences, (1..=100).collect::<Vec<_>>(), "{name}");
        assert_eq!(store.head().sequence, 100, "{name}");
    }
}

#[tokio::test]
async fn every_query_finds_what_it_admits_in_pages_that_join() {
    for Subject { name, store, .. } in stores() {
        for number in 0..60 {
            store
                .append(varied(number), Durability::Written)
                .await
                .unwrap();
        }
        let everything = AuditQuery {
            limit: 1000,
            ..AuditQuery::default()
        };
        let everything = store.list(everything).await.unwrap().records;
        assert_eq!(everything.len(), 60, "{name}");
        for (number, query) in queries().into_iter().enumerate() {
            let mut expected: Vec<_> = everything
                .iter()
                .filter(|record| query.admits(record))
                .map(|record| record.sequence)
                .collect();
            for limit in [1, 7, 1000] {
                let oldest = AuditQuery {
                    limit,
                    ..query.clone()
                };
                let found = pages(store.as_ref(), oldest).await;
                assert_eq!(found, expected, "{name}, query {number}, limit {limit}");
            }
            expected.reverse();
            for limit in [1, 7, 1000] {
                let newest = AuditQuery {
                    limit,
                    start: PageStart::NewestFirst {
                        before_sequence: None,
                    },
                    ..query.clone()
                };
                let found = pages(store.as_ref(), newest).await;
                assert_eq!(found, expected, "{name}, query {number}, limit {limit}");
            }
        }
    }
}

#[tokio::test]
async fn pages_that_go_together_see_one_log() {
    for Subject { name, store, .. } in stores() {
        for number in 0..5 {
            let appended = store.append(varied(number), Durability::Written).await;
            appended.unwrap();
        }
        let mut query = AuditQuery {
            limit: 2,
            ..AuditQuery::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = store.list(query.clone()).await.unwrap();
            seen.extend(page.records.iter().map(|record| record.sequence));
            // As a reader does whose reading is recorded.
            let read = store.append(varied(9), Durability::Written).await;
            read.unwrap();
            query.through = Some(page.through);
            let Some(next) = page.next else { break };
            query.start = next;
        }
        assert_eq!(seen, [1, 2, 3, 4, 5], "{name}");
    }
}

#[tokio::test]
async fn an_answered_record_is_found_at_once() {
    for Subject { name, store, .. } in stores() {
        for number in 0..40 {
            let appended = store
                .append(varied(number), Durability::Written)
                .await
                .unwrap();
            let newest = AuditQuery {
                limit: 1,
                start: PageStart::NewestFirst {
                    before_sequence: None,
                },
                ..AuditQuery::default()
            };
            let page = store.list(newest).await.unwrap();
            assert_eq!(page.records[0].sequence, appended.sequence, "{name}");
        }
    }
}

#[tokio::test]
async fn an_append_that_nobody_waits_for_is_kept() {
    for Subject { name, store, .. } in stores() {
        drop(store.append(varied(1), Durability::Synced));
        let second = store.append(varied(2), Durability::Synced).await.unwrap();
        assert_eq!(second.sequence, 2, "{name}");
    }
}

#[tokio::test]
async fn followers_see_every_head() {
    for Subject { name, store, .. } in stores() {
        let mut head = store.follow();
        let appended = store.append(varied(1), Durability::Synced).await.unwrap();
        let seen = head.wait_for(|head| head.sequence == 1).await.unwrap();
        assert_eq!(seen.hash, appended.hash, "{name}");
    }
}

#[tokio::test]
async fn a_signed_head_covers_all_that_was_answered_and_the_log_contains_it() {
    for Subject { name, store, .. } in stores() {
        let mut kept = Vec::new();
        for number in 0..10 {
            let appended = store
                .append(varied(number), Durability::Written)
                .await
                .unwrap();
            let head = store.signed_head().await.unwrap().unwrap();
            let opened = head.verifier.open_head(&head.note).unwrap();
            assert_eq!((opened, head.hash), (head.head, appended.hash), "{name}");
            assert_eq!(opened.size, appended.sequence, "{name}");
            kept.push(head.note);
        }
        let request = VerifyRequest {
            keys: vec![signer().verifier().clone()],
            known_heads: kept,
            ..VerifyRequest::default()
        };
        let found = store.verify(request).await.unwrap();
        assert_eq!((found.defect, found.checked), (None, 10), "{name}");
        assert!(found.heads >= 10, "{name}");
    }
}

#[tokio::test]
async fn a_head_of_a_longer_log_is_missed() {
    for Subject { name, store, .. } in stores() {
        store.append(varied(0), Durability::Synced).await.unwrap();
        let head = execgate_core::audit::TreeHead {
            size: 3,
            root: Digest::default(),
        };
        let request = VerifyRequest {
            known_heads: vec![signer().sign_head(&head)],
            keys: vec![signer().verifier().clone()],
            ..VerifyRequest::default()
        };
        store.signed_head().await.unwrap();
        let defect = store.verify(request).await.unwrap().defect.unwrap();
        let seen = (defect.sequence, defect.kind);
        assert_eq!(seen, (2, DefectKind::Truncated), "{name}");
    }
}
