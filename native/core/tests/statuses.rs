//! Every status that `docs/spec/ledger.md` 2 gives every command, in the order of its checks.

mod support;

use piecework_core::amount::AMOUNT_MAX;
use piecework_core::records::command::STRIDE;
use piecework_core::records::outcome::{NONE, outcome};
use piecework_core::status::STATUS_NAMES;
use support::*;

/// Channel 0 payee, channel 1 payer; session 0 on the first, session 1 on the second at 1000 a MiB.
fn prepared(folder: &Folder) -> piecework_core::ledger::Ledger {
    let ledger = open(&folder.0, 1 << 20);
    let setup = [
        Put::payee(1).record(),
        Put::payer(1).record(),
        session_open(0, 1, 1, 1000, 500, 300),
        session_open(1, 2, 2, 1000, 500, 300),
        budget(2, 100_000),
    ];
    assert_eq!(commit(&ledger, &setup), ["ok"; 5]);
    ledger
}

fn closing(put: Put) -> Record {
    Put {
        close_at: 99,
        block: 2,
        ..put
    }
    .record()
}

#[test]
fn channel_put() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(
        one(
            &ledger,
            Put {
                role: 2,
                ..Put::payee(1)
            }
            .record()
        ),
        "wrong_role"
    );
    assert_eq!(
        one(
            &ledger,
            Put {
                role: 1,
                ..Put::payer(1)
            }
            .record()
        ),
        "wrong_role"
    );
    assert_eq!(
        one(
            &ledger,
            Put {
                key: own_key(2),
                ..Put::payer(1)
            }
            .record()
        ),
        "duplicate"
    );
    assert_eq!(
        one(
            &ledger,
            Put {
                key_index: 3,
                ..Put::payer(2)
            }
            .record()
        ),
        "bad_signature"
    );
    assert_eq!(
        one(
            &ledger,
            Put {
                role: 3,
                ..Put::payee(2)
            }
            .record()
        ),
        "malformed"
    );
    assert_eq!(
        one(
            &ledger,
            Put {
                key: [0; 20],
                ..Put::payee(2)
            }
            .record()
        ),
        "malformed"
    );
    assert_eq!(
        one(
            &ledger,
            Put {
                payee: [0; 20],
                ..Put::payee(2)
            }
            .record()
        ),
        "malformed"
    );
    assert_eq!(
        one(
            &ledger,
            Put {
                deposit: AMOUNT_MAX + 1,
                ..Put::payee(2)
            }
            .record()
        ),
        "malformed"
    );
    assert_eq!(
        one(
            &ledger,
            Put {
                block: 1 << 53,
                ..Put::payee(2)
            }
            .record()
        ),
        "malformed"
    );
    let before = ledger.state_hash().unwrap();
    assert_eq!(one(&ledger, Put::payee(1).record()), "ok");
    assert_eq!(
        ledger.state_hash().unwrap(),
        before,
        "what already is changes nothing"
    );
    let raised = Put {
        deposit: 5,
        ..Put::payee(1)
    }
    .record();
    let bytes = ledger.commit(&raised, &[]).unwrap();
    assert_eq!(Outcome(&bytes).amount(outcome::DEPOSIT), 5);
    assert_eq!(Outcome(&bytes).int(outcome::CHANNEL), 0);
    assert_eq!(Outcome(&bytes).int(outcome::SESSION), NONE);
}

#[test]
fn a_payer_needs_its_seed() {
    let folder = Folder::new();
    let config = config(&folder.0, 1 << 20);
    let (ledger, _) = piecework_core::ledger::Ledger::open(&config, None).unwrap();
    assert_eq!(one(&ledger, Put::payer(1).record()), "bad_signature");
    assert_eq!(one(&ledger, Put::payee(1).record()), "ok");
}

#[test]
fn sessions() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(
        one(&ledger, session_open(2, 9, 1, 1, 1, 1)),
        "unknown_channel"
    );
    assert_eq!(one(&ledger, session_open(0, 1, 1, 1, 1, 1)), "duplicate");
    assert_eq!(
        one(&ledger, session_open(0, 3, 1, AMOUNT_MAX + 1, 1, 1)),
        "malformed"
    );
    assert_eq!(one(&ledger, session_close(7, 0)), "unknown_session");
    assert_eq!(one(&ledger, session_close(0, 1 << 60)), "malformed");
    assert_eq!(one(&ledger, session_close(0, 77)), "ok");
    assert_eq!(one(&ledger, session_close(0, 78)), "closed");
}

#[test]
fn grants() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(one(&ledger, grant(9, MIB, 1)), "unknown_session");
    assert_eq!(one(&ledger, grant(1, MIB, 1)), "wrong_role");
    assert_eq!(one(&ledger, grant(0, 0, 1)), "malformed");
    assert_eq!(one(&ledger, grant(0, MIB, 999)), "exceeds_window");
    assert_eq!(
        one(&ledger, grant(0, 1001 * MIB, AMOUNT_MAX)),
        "exceeds_deposit"
    );
    assert_eq!(one(&ledger, grant(0, MIB, 1000)), "ok");
    assert_eq!(one(&ledger, grant(0, 1, 1000)), "exceeds_window");
    assert_eq!(one(&ledger, grant(0, 1, 1001)), "ok");
    assert_eq!(one(&ledger, closing(Put::payee(1))), "ok");
    assert_eq!(one(&ledger, grant(0, 1, AMOUNT_MAX)), "closing");
    assert_eq!(one(&ledger, session_close(0, 0)), "ok");
    assert_eq!(one(&ledger, grant(0, 1, AMOUNT_MAX)), "closed");
    let dear = [
        Put {
            deposit: AMOUNT_MAX,
            ..Put::payee(5)
        }
        .record(),
        session_open(2, 5, 5, AMOUNT_MAX, 0, 0),
        grant(2, MIB + 1, AMOUNT_MAX),
        grant(2, MIB, AMOUNT_MAX),
        grant(2, 1, AMOUNT_MAX),
    ];
    assert_eq!(
        commit(&ledger, &dear),
        ["ok", "ok", "overflow", "ok", "overflow"]
    );
}

#[test]
fn vouchers() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(commit(&ledger, &[grant(0, 2 * MIB, 5000)]), ["ok"]);
    assert_eq!(one(&ledger, accept(9, 1)), "unknown_session");
    assert_eq!(one(&ledger, accept(1, 1)), "wrong_role");
    assert_eq!(one(&ledger, accept(0, 0)), "not_increasing");
    assert_eq!(one(&ledger, accept(0, 499)), "below_step");
    assert_eq!(
        one(&ledger, voucher_of(0, &plain_row(499), true, false)),
        "unverified"
    );
    assert_eq!(one(&ledger, accept(0, 1_000_001)), "exceeds_deposit");
    assert_eq!(one(&ledger, accept(0, 2301)), "exceeds_granted");
    assert_eq!(
        one(&ledger, voucher_of(0, &plain_row(1999), false, false)),
        "unverified"
    );
    assert_eq!(one(&ledger, accept(0, 1600)), "ok");
    assert_eq!(one(&ledger, accept(0, 1600)), "not_increasing");
    assert_eq!(
        one(&ledger, accept(0, 2000)),
        "ok",
        "it pays all, so no step is asked"
    );
    assert_eq!(one(&ledger, accept(0, 2300)), "ok", "the prepay");
    let mut odd = accept(0, 9999);
    odd[piecework_core::records::command::voucher::FINAL] = 2;
    assert_eq!(one(&ledger, odd), "malformed");
    assert_eq!(one(&ledger, session_close(0, 0)), "ok");
    assert_eq!(
        commit(&ledger, &[session_open(0, 8, 1, 1000, 500, 900)]),
        ["ok"]
    );
    assert_eq!(
        one(&ledger, voucher_of(0, &plain_row(2400), true, true)),
        "exceeds_granted"
    );
    assert_eq!(
        one(&ledger, voucher_of(2, &plain_row(2900), true, true)),
        "ok"
    );
}

#[test]
fn write_offs() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(one(&ledger, grant(0, 2 * MIB, 5000)), "ok");
    assert_eq!(one(&ledger, write_off(9, 1)), "unknown_session");
    assert_eq!(one(&ledger, write_off(1, 1)), "wrong_role");
    assert_eq!(one(&ledger, write_off(0, 2001)), "exceeds_granted");
    assert_eq!(one(&ledger, write_off(0, 1500)), "ok");
    let bytes = ledger.commit(&accept(0, 1000), &[]).unwrap();
    let after = Outcome(&bytes);
    assert_eq!(after.name(), "ok");
    assert_eq!(after.amount(outcome::AUTHORIZED), 1000);
    assert_eq!(after.amount(outcome::GRANTED), 2000);
    assert_eq!(
        after.amount(outcome::WRITTEN_OFF),
        1000,
        "what is paid after all is no loss"
    );
    assert_eq!(after.amount(outcome::UNPAID), 0);
    assert_eq!(one(&ledger, grant(0, MIB, 999)), "exceeds_window");
    assert_eq!(one(&ledger, grant(0, MIB, 1000)), "ok");
}

#[test]
fn budgets_and_purchases() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(one(&ledger, purchase(9, 0, 1)), "unknown_session");
    assert_eq!(one(&ledger, purchase(0, 0, 1)), "wrong_role");
    assert_eq!(one(&ledger, purchase(1, 0, 0)), "malformed");
    assert_eq!(one(&ledger, purchase(1, 0, 101 << 20)), "exceeds_budget");
    assert_eq!(one(&ledger, purchase(1, 0, 1 << 20)), "ok");
    assert_eq!(one(&ledger, purchase(1, 0, 1 << 20)), "duplicate");
    assert_eq!(commit(&ledger, &[session_open(1, 7, 2, 1, 1, 1)]), ["ok"]);
    assert_eq!(
        one(&ledger, purchase(2, 0, 1)),
        "duplicate",
        "in any session of the torrent"
    );
    assert_eq!(one(&ledger, budget(2, 999)), "exceeds_budget");
    assert_eq!(one(&ledger, budget(2, 1000)), "ok");
    assert_eq!(one(&ledger, purchase(1, 1, 1)), "exceeds_budget");
    assert_eq!(one(&ledger, budget(2, AMOUNT_MAX)), "ok");
    assert_eq!(one(&ledger, purchase(1, 1, 1000 << 20)), "exceeds_deposit");
    assert_eq!(commit(&ledger, &[session_open(1, 6, 6, 1, 1, 1)]), ["ok"]);
    assert_eq!(
        one(&ledger, purchase(3, 0, 1)),
        "exceeds_budget",
        "no budget, no purchase"
    );
    assert_eq!(one(&ledger, closing(Put::payer(1))), "ok");
    assert_eq!(one(&ledger, purchase(1, 1, 1)), "closing");
    assert_eq!(one(&ledger, session_close(1, 0)), "ok");
    assert_eq!(one(&ledger, purchase(1, 1, 1)), "closed");
    assert_eq!(one(&ledger, abandon(9, 0)), "unknown_session");
    assert_eq!(one(&ledger, abandon(1, 5)), "unknown_piece");
    assert_eq!(
        one(&ledger, abandon(2, 0)),
        "unknown_piece",
        "of another session"
    );
    assert_eq!(
        one(&ledger, abandon(1, 0)),
        "ok",
        "a closed session's pieces can be given up"
    );
    assert_eq!(one(&ledger, abandon(1, 0)), "unknown_piece");
}

#[test]
fn payments_sign_once_a_batch() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    let mib = MIB as u32;
    assert_eq!(one(&ledger, pay(9, 0, mib, 0)), "unknown_session");
    assert_eq!(one(&ledger, pay(0, 0, mib, 0)), "wrong_role");
    assert_eq!(one(&ledger, pay(1, 0, mib, 0)), "unknown_piece");
    assert_eq!(
        commit(
            &ledger,
            &[
                purchase(1, 0, mib),
                purchase(1, 1, mib),
                purchase(1, 2, mib)
            ]
        ),
        ["ok"; 3]
    );
    assert_eq!(one(&ledger, pay(1, 0, mib - 1, 0)), "unknown_piece");
    let bytes = ledger
        .commit(&[pay(1, 0, mib, 0), pay(1, 1, mib, 9999)].concat(), &[])
        .unwrap();
    for outcome_of in each(&bytes) {
        assert_eq!(outcome_of.name(), "ok");
        assert_eq!(outcome_of.amount(outcome::DUE), 2000);
        assert_eq!(outcome_of.amount(outcome::RESERVED), 1000);
        assert_eq!(
            outcome_of.amount(outcome::AUTHORIZED),
            2300,
            "due and the prepay"
        );
        assert_eq!(outcome_of.row(), Some(own_row(1, 2300)));
    }
    let bytes = ledger.commit(&sign(1, 100), &[]).unwrap();
    assert_eq!(
        (Outcome(&bytes).name(), Outcome(&bytes).row()),
        ("ok", None),
        "the amount did not rise"
    );
    assert_eq!(one(&ledger, sign(0, 1)), "wrong_role");
    assert_eq!(one(&ledger, sign(8, 1)), "unknown_session");
    assert_eq!(
        commit(
            &ledger,
            &[Put {
                deposit: 2200,
                block: 3,
                ..Put::payer(1)
            }
            .record()]
        ),
        ["ok"]
    );
    assert_eq!(one(&ledger, pay(1, 2, mib, 0)), "exceeds_deposit");
    assert_eq!(one(&ledger, sign(1, 0)), "exceeds_deposit");
}

#[test]
fn the_highest_promise_of_a_batch_is_signed() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(one(&ledger, purchase(1, 0, MIB as u32)), "ok");
    let bytes = ledger
        .commit(&[sign(1, 250), sign(1, 0)].concat(), &[])
        .unwrap();
    let rows: Vec<_> = each(&bytes).map(|outcome| outcome.row()).collect();
    assert_eq!(rows, [Some(own_row(1, 250)); 2]);
    let records = [
        sign(1, 280),
        adopt(1, &own_row(1, 270)),
        adopt(1, &own_row(1, 290)),
    ];
    assert_eq!(commit(&ledger, &records), ["ok", "not_increasing", "ok"]);
    let bytes = ledger.commit(&sign(1, 0), &[]).unwrap();
    assert_eq!(Outcome(&bytes).amount(outcome::AUTHORIZED), 290);
}

#[test]
fn adoption() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(one(&ledger, adopt(9, &own_row(1, 5))), "unknown_channel");
    assert_eq!(one(&ledger, adopt(0, &own_row(1, 5))), "wrong_role");
    assert_eq!(one(&ledger, adopt(1, &own_row(1, 0))), "not_increasing");
    assert_eq!(
        one(&ledger, adopt(1, &own_row(1, 1_000_001))),
        "exceeds_deposit"
    );
    assert_eq!(one(&ledger, adopt(1, &own_row(2, 5))), "bad_signature");
    assert_eq!(one(&ledger, adopt(1, &plain_row(5))), "bad_signature");
    assert_eq!(one(&ledger, adopt(1, &own_row(1, 5))), "ok");
    assert_eq!(one(&ledger, adopt(1, &own_row(1, 5))), "not_increasing");
}

#[test]
fn notes() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    let blobs = vec![7u8; 128 * 1024 + 1];
    let size = blobs.len() as u32;
    let records = [
        note(1, 1, Some((0, size))),
        note(1, 1, Some((1, size))),
        note(1, 1, Some((0, size - 1))),
        note(1, 2, Some((5, 0))),
        note(1, 3, None),
    ];
    let bytes = ledger.commit(&records.concat(), &blobs).unwrap();
    assert_eq!(
        outcomes(&bytes),
        ["too_long", "malformed", "ok", "ok", "ok"]
    );
    assert_eq!(ledger.note(1, &[1; 32]).unwrap().unwrap().len(), 128 * 1024);
    assert_eq!(ledger.note(1, &[2; 32]).unwrap(), Some(vec![]));
    assert_eq!(one(&ledger, note(1, 1, None)), "ok");
    assert_eq!(ledger.note(1, &[1; 32]).unwrap(), None);
}

#[test]
fn screening_changes_nothing_and_takes_signatures_for_granted() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    assert_eq!(one(&ledger, grant(0, 2 * MIB, 5000)), "ok");
    let before = ledger.state_hash().unwrap();
    let records = [
        voucher_of(0, &plain_row(1999), false, false),
        voucher_of(0, &plain_row(100), false, false),
        voucher_of(7, &plain_row(100), false, false),
        [0xff; STRIDE],
    ];
    let statuses = ledger.screen(&records.concat(), &[]).unwrap();
    let names: Vec<&str> = statuses
        .iter()
        .map(|status| STATUS_NAMES[*status as usize])
        .collect();
    assert_eq!(names, ["ok", "below_step", "unknown_session", "malformed"]);
    assert_eq!(ledger.state_hash().unwrap(), before);
    assert!(ledger.screen(&[0; STRIDE - 1], &[]).is_err());
}

#[test]
fn nothing_accepted_is_nothing_written() {
    let folder = Folder::new();
    let ledger = prepared(&folder);
    let before = std::fs::read(&folder.files("seg-", ".pwj")[0]).unwrap();
    assert_eq!(
        commit(&ledger, &[grant(9, 1, 1), [0; STRIDE], sign(1, 0)]),
        ["unknown_session", "malformed", "ok"]
    );
    assert_eq!(
        std::fs::read(&folder.files("seg-", ".pwj")[0]).unwrap(),
        before
    );
}
